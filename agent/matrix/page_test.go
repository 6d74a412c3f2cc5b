package matrix

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"davy/agent/i18n"
)

var both = []i18n.Lang{i18n.Zh, i18n.En}

// The sheet needs nothing else, runs nothing, and is the same each time.
func TestPageIsWhole(t *testing.T) {
	b := bundleOf(t, site, allOfIt)
	sheet := Sheet{Version: "1.2.3", Date: "2026-03-02"}
	page := New(b, compiled(t, b)).Page(both, sheet)
	if again := New(b, compiled(t, b)).Page(both, sheet); !bytes.Equal(page, again) {
		t.Error("the same site gives other bytes")
	}
	text := string(page)
	for _, no := range []string{"<script", "<link", "<img", "<iframe", "http:", "https:", "url(", "@import", "src=", "href=", " on", "⟨"} {
		if no == " on" {
			if m := regexp.MustCompile(`<[a-z][^>]* on[a-z]+=`).FindString(text); m != "" {
				t.Errorf("the sheet runs %s", m)
			}
		} else if strings.Contains(text, no) {
			t.Errorf("the sheet has %q", no)
		}
	}
	for _, want := range []string{
		"size: A3 landscape", "table-header-group", "break-inside: avoid", "冷库三号", "Cold store 3", "GW-1", "1.2.3", "2026-03-02",
		"绝不替代", "never replaces or inhibits", "Plan checksum", "签名", "Signature", "4 取 2", "2 of 4", "max(d.a, d.b, d.c)", "氨高", "Ventilate", "未声明",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the sheet has no %q", want)
		}
	}
	if zh := string(New(b, compiled(t, b)).Page(both[:1], sheet)); strings.Contains(zh, "Signature") || !strings.Contains(zh, "签名") {
		t.Error("a sheet in Chinese says English words of ours")
	}
}

// Every tag that is opened is closed, whatever the site writes.
func TestPageHoldsHostileTexts(t *testing.T) {
	hostile := `"</style><script>alert(1)</script>&`
	b := bundleOf(t, strings.Replace(site, "{zh: 冷库三号, en: Cold store 3}", `{zh: '`+hostile+`', en: '<b>'}`, 1),
		strings.Replace(allOfIt, "=all of it", `<i>x & y</td>`, 1))
	text := string(New(b, compiled(t, b)).Page(both, Sheet{Version: "<v>"}))
	if strings.Contains(text, "<script") || strings.Contains(text, "<i>x") || strings.Contains(text, "<v>") {
		t.Error("a text of the site is markup")
	}
	var open []string
	for _, m := range regexp.MustCompile(`<(/?)([a-z0-9]+)`).FindAllStringSubmatch(text[strings.Index(text, "<html"):], -1) {
		switch {
		case m[2] == "br" || m[2] == "meta":
		case m[1] == "":
			open = append(open, m[2])
		case len(open) == 0 || open[len(open)-1] != m[2]:
			t.Fatalf("</%s> closes %v", m[2], open)
		default:
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		t.Errorf("left open: %v", open)
	}
}

// More outputs than stand side by side go on another sheet, with their interlocks.
func TestPageInParts(t *testing.T) {
	var may, outs, then []string
	for i := range maxEffects + 1 {
		n := string(rune('a' + i))
		may = append(may, "coil "+string(rune('0'+i/10))+string(rune('0'+i%10)))
		outs = append(outs, "  o"+n+": {drives: m coil "+may[i][5:]+", idle: off, protective: on, davy_dead: stays, link_lost: stays}")
		then = append(then, "{demand: o"+n+"}")
	}
	for i := range may {
		may[i] = "coil " + strings.TrimLeft(may[i][5:], "0")
		if may[i] == "coil " {
			may[i] = "coil 0"
		}
	}
	for i := range outs {
		outs[i] = regexp.MustCompile(`coil 0(\d)`).ReplaceAllString(outs[i], "coil $1")
	}
	s := strings.Replace(site, "may_write: [coil 0, coil 1, coil 2]", "may_write: ["+strings.Join(may, ", ")+"]", 1)
	s = strings.Replace(s, "{at: coil 3, type: bool}", "{at: discrete 3, type: bool}", 1)
	s = s[:strings.Index(s, "outputs:")] + "outputs:\n" + strings.Join(outs, "\n") + "\n"
	b := bundleOf(t, s, `interlocks:
  ALL:
    text: x
    trip_when: any
    channels: [d.a > 5 ppm]
    channel_bad: left out
    then: [`+strings.Join(then, ", ")+`]
    reset: by operator
  FIRST:
    text: y
    trip_when: any
    channels: [d.b > 5 ppm]
    channel_bad: left out
    then: [demand: oa]
    reset: by operator
`)
	text := string(New(b, compiled(t, b)).Page(both[:1], Sheet{}))
	if n := strings.Count(text, `<section class="matrix">`); n != 2 {
		t.Errorf("%d sheets, want 2", n)
	}
	if n, m := strings.Count(text, `rowgroup" rowspan="2"><code>ALL`), strings.Count(text, `rowgroup" rowspan="2"><code>FIRST`); n != 2 || m != 1 {
		t.Errorf("ALL stands %d times and FIRST %d times, want 2 and 1", n, m)
	}
	if n := strings.Count(text, `<td class="effect on"`); n != maxEffects+2 {
		t.Errorf("%d effects, want %d", n, maxEffects+2)
	}
}

// A site without interlocks has a sheet too.
func TestPageOfNothing(t *testing.T) {
	b := bundleOf(t, site, formulas)
	m := New(b, compiled(t, b))
	if text := string(m.Page(both, Sheet{})); !strings.Contains(text, "This site has no interlocks.") {
		t.Error("it does not say so")
	}
	read, problems := Read("m.csv", m.CSV(i18n.Zh, Sheet{}), compiled(t, b))
	if len(read) > 0 || len(problems) > 0 {
		t.Error(read, problems)
	}
}
