package table

import (
	"slices"
	"strings"
)

// Write returns rows as a file that every spreadsheet opens by a double click:
// UTF-8 with a byte order mark, commas, CR LF.
func Write(rows [][]string) []byte {
	var b strings.Builder
	b.WriteString(bom)
	for _, row := range rows {
		for i, text := range row {
			if i > 0 {
				b.WriteByte(',')
			}
			if text = guarded(text); strings.ContainsAny(text, ",;\t\"\r\n") {
				text = `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
			}
			b.WriteString(text)
		}
		b.WriteString("\r\n")
	}
	return []byte(b.String())
}

// guarded puts an apostrophe before what a spreadsheet would not show as it
// stands, and before one that is there already.
func guarded(s string) string {
	if s != "" && (strings.ContainsRune("=+-@\t\r'＝＋－＠", []rune(s)[0]) || changes(s)) {
		return "'" + s
	}
	return s
}

// changes reports what a spreadsheet turns into a date, a time or another
// number when it opens it: MAR-1, 3-4, 1/2, 12:30, 007, 1E5, true.
func changes(s string) bool {
	low := strings.ToLower(s)
	if low == "true" || low == "false" {
		return true
	}
	word := strings.TrimRight(low, "0123456789-/ .")
	if len(word) < len(low) && len(word) >= 3 && (low[0] < '0' || low[0] > '9') {
		const months = "january february march april may june july august september october november december"
		return slices.ContainsFunc(strings.Fields(months), func(m string) bool { return strings.HasPrefix(m, word) })
	}
	if low[0] < '0' || low[0] > '9' || strings.Trim(low, "0123456789.-/:e+ ") != "" {
		return false
	}
	return len(low) > 1 && low[0] == '0' && low[1] != '.' || strings.ContainsAny(low, "-/:e+ ") || len(low) > 11 || strings.Count(low, ".") > 1 ||
		strings.Contains(low, ".") && strings.HasSuffix(low, "0")
}
