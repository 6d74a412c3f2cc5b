package main

import (
	"fmt"
	"io"
	"os"

	"davy/agent/cli"
	"davy/agent/config"
	"davy/agent/i18n"
	"davy/agent/matrix"
)

// matrixCommand prints the cause-and-effect matrix of a site, or reads one back.
func matrixCommand(c *cli.Call) error {
	if c.Set("compare") && !c.Set("read") {
		return cli.Usage("davy.matrix.compare-what", i18n.Args{})
	}
	if c.Set("read") && (c.Set("csv") || c.Set("both") || c.Set("date")) {
		return cli.Usage("davy.matrix.read-alone", i18n.Args{})
	}
	if d := c.Flag("date"); d != "" && !matrix.GoodDate(d) {
		return cli.Usage("davy.matrix.date", i18n.Args{"value": d})
	}
	bundle, plan, err := compiled(c, "davy.check.problems")
	if err != nil {
		return err
	}
	if c.Set("read") {
		return matrixRead(c, bundle, plan)
	}
	m, sheet := matrix.New(bundle, plan), matrix.Sheet{Version: version, Date: c.Flag("date")}
	out := m.Page(matrixLangs(c), sheet)
	if c.Set("csv") {
		out = m.CSV(c.Lang, sheet)
	}
	_, err = c.Out.Write(out)
	return err
}

// matrixLangs are the languages of the sheet, the person's first.
func matrixLangs(c *cli.Call) []i18n.Lang {
	switch {
	case !c.Set("both"):
		return []i18n.Lang{c.Lang}
	case c.Lang == i18n.En:
		return []i18n.Lang{i18n.En, i18n.Zh}
	}
	return []i18n.Lang{i18n.Zh, i18n.En}
}

// matrixRead reads a table back: it prints the rules, or in what they differ from the
// site's.
func matrixRead(c *cli.Call, bundle *config.Bundle, plan *config.Plan) error {
	file := c.Flag("read")
	data, err := readTable(file)
	if err != nil {
		return &cli.Error{Exit: cli.Wrong, Key: "davy.matrix.unreadable", Args: i18n.Args{"file": file}, Cause: err}
	}
	read, problems := matrix.Read(file, data, plan)
	var other *config.Plan
	if problems.OK() {
		var more config.Problems
		other, more = config.CompileWith(bundle, driverSet(), read)
		problems = problems.Join(more)
	}
	if err := problems.Write(c.Err, c.Lang, bundle); err != nil {
		return err
	}
	if other == nil {
		n, _ := problems.Counts()
		return &cli.Error{Exit: cli.Wrong, Key: "davy.matrix.problems", Args: i18n.Args{"file": file, "n": n}}
	}
	if !c.Set("compare") {
		_, err := c.Out.Write(matrix.YAML(read))
		return err
	}
	differences := matrix.Compare(matrix.New(bundle, plan), matrix.With(bundle, other, read), c.Lang)
	if len(differences) == 0 {
		c.Say("davy.matrix.same", i18n.Args{"n": len(plan.Rules.Interlocks), "file": file})
		return nil
	}
	none := c.Lang.Text("davy.matrix.nothing", nil)
	for _, d := range differences {
		switch {
		case d.Label == "" && d.Table == "":
			c.Say("davy.matrix.gone", i18n.Args{"lock": d.Lock, "vote": d.Site})
		case d.Label == "":
			c.Say("davy.matrix.new", i18n.Args{"lock": d.Lock, "vote": d.Table})
		default:
			c.Say("davy.matrix.differs", i18n.Args{"lock": d.Lock, "what": d.Label, "site": orNone(d.Site, none), "table": orNone(d.Table, none)})
		}
	}
	fmt.Fprintln(c.Out)
	c.Say("davy.matrix.differences", i18n.Args{"n": len(differences), "file": file})
	return cli.Quiet(cli.Failed)
}

func orNone(s, none string) string {
	if s == "" {
		return none
	}
	return s
}

// readTable reads a file up to the first byte beyond what a table may have.
func readTable(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, config.MaxFile+1))
}
