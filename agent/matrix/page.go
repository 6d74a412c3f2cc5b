package matrix

import (
	_ "embed"
	"html"
	"slices"
	"strconv"
	"strings"

	"davy/agent/config"
	"davy/agent/i18n"
	"davy/rules"
)

//go:embed page.css
var style string

// maxEffects is how many outputs stand side by side on one sheet; of more, the
// next stand on a sheet of their own with their interlocks.
const maxEffects = 12

// Page is the sheet as one HTML file that needs nothing else: printed on A3, read
// on a screen or a phone. In two languages each word stands twice.
func (m *Matrix) Page(langs []i18n.Lang, sheet Sheet) []byte {
	p := &page{m: m, sheet: sheet}
	for _, l := range langs {
		p.tellers = append(p.tellers, teller{m: m, lang: l})
	}
	p.head()
	p.matrices()
	p.outputs()
	p.responses()
	p.computed()
	p.alarms()
	p.sign()
	p.b.WriteString("</main>\n</body>\n</html>\n")
	return []byte(p.b.String())
}

// A page is the file while it is written.
type page struct {
	m       *Matrix
	sheet   Sheet
	tellers []teller // one of each language
	b       strings.Builder
}

// put writes markup as it stands: ours only.
func (p *page) put(parts ...string) {
	for _, s := range parts {
		p.b.WriteString(s)
	}
}

// both is what each teller says, once where all say the same; ready to be put.
func (p *page) both(tell func(teller) string) string {
	texts := make([]string, len(p.tellers))
	for i, t := range p.tellers {
		texts[i] = tell(t)
	}
	return p.join(texts)
}

// join is both of texts that were told, one by each teller.
func (p *page) join(texts []string) string {
	if len(slices.Compact(slices.Clone(texts))) == 1 {
		return html.EscapeString(texts[0])
	}
	var b strings.Builder
	for i, t := range p.tellers {
		b.WriteString(`<span lang="` + string(t.lang) + `">` + html.EscapeString(texts[i]) + "</span>")
	}
	return b.String()
}

// facts are what each teller tells, joined; each tells the same facts.
func (p *page) facts(tell func(teller) []fact) []fact {
	all := make([][]fact, len(p.tellers))
	for i, t := range p.tellers {
		all[i] = tell(t)
	}
	joined := slices.Clone(all[0])
	for k := range joined {
		texts := make([]string, len(all))
		for i := range all {
			texts[i] = all[i][k].text
		}
		joined[k].text = p.join(texts)
	}
	return joined
}

// words are those of key, without "matrix.".
func (p *page) words(key string, args i18n.Args) string {
	return p.both(func(t teller) string { return t.lang.Text("matrix."+key, args) })
}

func (p *page) text(x rules.Text) string {
	return p.both(func(t teller) string { return in(x, t.lang) })
}

// code is a name of the site: it is the same in every language.
func code(s string) string { return "<code>" + html.EscapeString(s) + "</code>" }

func (p *page) head() {
	g, lang := p.m.plan.Gateway, string(p.tellers[0].lang)
	if lang == "zh" {
		lang = "zh-CN"
	}
	plain := func(label string) string { return html.EscapeString(p.tellers[0].say(label, nil)) }
	p.put("<!DOCTYPE html>\n<html lang=\"", lang, "\">\n<head>\n<meta charset=\"utf-8\">\n",
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>", html.EscapeString(g.ID), " · ", plain("title"), "</title>\n<style>\n", style)
	foot := g.ID + " · " + p.tellers[0].say("plan", i18n.Args{"hash": p.m.hash()})
	p.put("@page { @bottom-left { content: ", cssText(foot), " } }\n</style>\n</head>\n<body>\n")
	p.put("<header>\n<h1>", p.words("title", nil), "</h1>\n<p class=\"site\">", p.text(g.Name), "</p>\n<dl>\n")
	p.item("gateway", code(g.ID))
	p.item("plan-head", code(p.m.hash()))
	p.item("version-head", code(p.sheet.Version))
	date := "<span class=\"blank\"></span>"
	if p.sheet.Date != "" {
		date = html.EscapeString(p.sheet.Date)
	}
	p.item("date-head", date)
	armed := "disarmed"
	if g.Armed {
		armed = "armed"
	}
	p.item("outputs-are", p.words(armed, nil))
	p.put("</dl>\n<p class=\"warn\">", p.words("supervisory", nil), "</p>\n</header>\n<main>\n")
}

// cssText is a text as CSS takes it within quotes.
func cssText(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < ' ' || r == '"' || r == '\\' || r == '<' {
			b.WriteString(`\` + strconv.FormatInt(int64(r), 16) + " ")
		} else {
			b.WriteRune(r)
		}
	}
	return `"` + b.String() + `"`
}

func (p *page) item(label, value string) {
	p.put("<div><dt>", p.words(label, nil), "</dt><dd>", value, "</dd></div>\n")
}

// begin opens a section with a table; heads are keys.
func (p *page) begin(class, title string, heads ...string) {
	p.put("<section class=\"", class, "\">\n<h2>", p.words(title, nil), "</h2>\n<div class=\"wide\">\n<table>\n<thead><tr>")
	for _, h := range heads {
		p.put("<th scope=\"col\">", p.words(h, nil), "</th>")
	}
	p.put("</tr></thead>\n")
}

func (p *page) end() { p.put("</table>\n</div>\n</section>\n") }

func (p *page) cell(html string) { p.put("<td>", html, "</td>") }

// matrices writes the interlocks with their outputs, some outputs on each sheet.
func (p *page) matrices() {
	locks := p.m.plan.Rules.Interlocks
	if len(locks) == 0 {
		p.put("<section><h2>", p.words("causes", nil), "</h2>\n<p>", p.words("no-interlocks", nil), "</p></section>\n")
		return
	}
	var used []string // demanded, or demanded where a proof does not come
	for _, o := range p.m.plan.Outputs {
		if p.demanded(o.Name) {
			used = append(used, o.Name)
		}
	}
	for from := 0; from < max(len(used), 1); from += maxEffects {
		part := used[min(from, len(used)):min(from+maxEffects, len(used))]
		p.matrix(part, from > 0)
	}
	p.put("<p class=\"legend\">", p.words("legend", nil), "</p>\n")
}

func (p *page) demanded(output string) bool {
	for _, x := range p.m.plan.Rules.Interlocks {
		for _, d := range x.Demands {
			if d.Output == output {
				return true
			}
		}
	}
	return false
}

func (p *page) matrix(outputs []string, only bool) {
	p.put("<section class=\"matrix\">\n<h2>", p.words("causes", nil), "</h2>\n<div class=\"wide\">\n<table>\n<thead><tr>")
	for _, h := range []string{"number", "interlock", "vote", "cause", "limit", "instrument"} {
		p.put("<th scope=\"col\" class=\"c-", h, "\">", p.words(h, nil), "</th>")
	}
	for _, name := range outputs {
		o, _ := p.m.output(name)
		p.put("<th scope=\"col\" class=\"effect\"><div>", code(name))
		if o.Text.Zh != name || o.Text.En != name {
			p.put(" ", p.text(o.Text))
		}
		p.put("</div><div class=\"states\">", html.EscapeString(o.IdleName), " → <b>", html.EscapeString(o.ProtectiveName), "</b></div></th>")
	}
	p.put("</tr></thead>\n")
	for i, x := range p.m.plan.Rules.Interlocks {
		if !only || p.demandsOf(x, outputs) {
			p.lock(i+1, x, outputs)
		}
	}
	p.end()
}

func (p *page) demandsOf(x rules.Interlock, outputs []string) bool {
	for _, d := range x.Demands {
		for _, o := range outputs {
			if d.Output == o {
				return true
			}
		}
	}
	return false
}

// lock writes one interlock: a row for each channel, and one for how it behaves.
func (p *page) lock(number int, x rules.Interlock, outputs []string) {
	n := strconv.Itoa(len(x.Channels) + 1)
	p.put("<tbody>\n")
	for i, ch := range x.Channels {
		p.put("<tr>")
		if i == 0 {
			p.put("<td class=\"number\" rowspan=\"", n, "\">", strconv.Itoa(number), "</td><th scope=\"rowgroup\" rowspan=\"", n, "\">", code(x.Name), "<br>", p.text(x.Text),
				"<p class=\"priority ", priorities[x.Priority], "\">", p.both(func(t teller) string { return t.priority(x.Priority) }), "</p></th><td class=\"vote\" rowspan=\"", n, "\">", p.both(func(t teller) string { return t.vote(x) }), "</td>")
		}
		p.channel(x, i, ch)
		if i == 0 {
			for _, o := range outputs {
				p.effect(x, o, n)
			}
		}
		p.put("</tr>\n")
	}
	p.put("<tr><td class=\"conduct\" colspan=\"3\"><dl>")
	for _, f := range p.facts(func(t teller) []fact { return t.conduct(x) }) {
		p.put("<div><dt>", p.words(f.label, nil), "</dt><dd>", f.text, "</dd></div>")
	}
	p.put("</dl></td></tr>\n</tbody>\n")
}

// channel writes the cells of one channel: what it is, its limit, where it is from.
func (p *page) channel(x rules.Interlock, i int, ch rules.Channel) {
	slot := "channel-" + strconv.Itoa(i+1)
	of := p.m.plan.Tags[ch.Cond.Tag]
	made := p.tellers[0].condition(x, ch.Cond, slot) == of.Text.En && string(of.Name) == x.Name+"."+slot // an expression
	p.put("<td class=\"cause\">", code(ch.Name))
	if name := string(of.Name); name != ch.Name {
		p.put(" ", code(name))
	}
	if s := p.both(func(t teller) string { return p.m.textOf(ch.Cond.Tag, t.lang) }); s != "" && !made {
		p.put("<br>", s)
	}
	if ch.Manual {
		p.put(" <b class=\"mark\">", p.words("manual-mark", nil), "</b>")
	}
	p.put("</td><td class=\"limit\">")
	if made {
		p.put(html.EscapeString(of.Text.En))
	} else {
		p.put(p.both(func(t teller) string { return t.limit(ch.Cond) }))
	}
	p.put("</td><td class=\"instrument\">", p.both(func(t teller) string { return t.instruments(ch.Cond.Tag) }))
	if links := p.m.links(ch.Cond.Tag); links != "" {
		p.put(" · ", code(links))
	}
	p.put("</td>")
}

// effect writes the cell of an interlock and an output over n rows.
func (p *page) effect(x rules.Interlock, output, n string) {
	for i, d := range x.Demands {
		if d.Output != output {
			continue
		}
		p.put("<td class=\"effect on\" rowspan=\"", n, "\"><b>✕</b><i>", strconv.Itoa(i+1), "</i>")
		if s := p.both(func(t teller) string { return strings.TrimSpace(t.effect(d)) }); s != "" {
			p.put("<p>", s, "</p>")
		}
		if r, ok := p.m.response(x.Name, output); ok {
			p.put("<p class=\"worst\">≤ ", config.Spell(r.Worst()), "</p>")
		}
		p.put("</td>")
		return
	}
	p.put("<td class=\"effect\" rowspan=\"", n, "\"></td>")
}
