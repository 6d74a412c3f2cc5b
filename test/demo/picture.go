package main

import (
	"fmt"
	"html"
	"os"
	"strings"

	"davy/agent/i18n"
)

// indent is before what a line of the terminal goes on with below.
const indent = "          "

// picture draws lines of a terminal as an SVG file (the picture in README.md):
// DEMO_PICTURE=FILE makes it of what the demo said.
func picture(path string, lines []string) error {
	const columns, height, top, left, charWidth = 108, 20, 44, 16, 8
	var wrapped []string
	for _, l := range lines {
		wrapped = append(wrapped, wrap(l, columns)...)
	}
	var b strings.Builder
	h := top + height*len(wrapped) + 16
	w := left*2 + columns*charWidth + 24
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, 'WenQuanYi Micro Hei Mono', 'Noto Sans Mono CJK SC', monospace" font-size="13.6">`+"\n", w, h, w, h)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" rx="8" fill="#14181d"/><circle cx="20" cy="18" r="5" fill="#e5534b"/><circle cx="38" cy="18" r="5" fill="#d4a72c"/><circle cx="56" cy="18" r="5" fill="#57ab5a"/><text x="80" y="23" fill="#8b949e">$ make demo</text>`+"\n", w, h)
	colour := ""
	for i, l := range wrapped {
		switch {
		case strings.HasPrefix(l, indent):
			// goes on with the line above, in its colour
		case strings.HasPrefix(l, "{"):
			colour = "#79c0ff"
		case strings.Contains(l, "150 ppm"), strings.Contains(l, "-9"):
			colour = "#ff938a"
		case !strings.HasPrefix(l, " "):
			colour = "#7ee787"
		default:
			colour = "#d7dde3"
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s" xml:space="preserve">%s</text>`+"\n", left, top+height*i+14, colour, html.EscapeString(l))
	}
	b.WriteString("</svg>\n")
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

// wrap breaks a line at columns of a terminal, after a comma or blank where it can.
func wrap(l string, columns int) []string {
	var out []string
	for i18n.Width(l) > columns {
		width, cut, good := 0, 0, 0
		for i, r := range l {
			if width += i18n.RuneWidth(r); width > columns {
				break
			}
			cut = i
			if r == ' ' || r == ',' || r == '，' {
				good = i + len(string(r))
			}
		}
		if good > len(l)/4 {
			cut = good
		}
		out = append(out, l[:cut])
		l = indent + strings.TrimLeft(l[cut:], " ")
	}
	return append(out, l)
}
