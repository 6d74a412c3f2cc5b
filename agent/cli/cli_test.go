package cli

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"davy/agent/i18n"
)

// program uses the words of davy itself; what its commands saw is kept in last.
func program(last **Call, result error) *Program {
	run := func(c *Call) error { *last = c; return result }
	return &Program{Name: "davy", Commands: []Command{
		{Name: "check", Min: 1, Max: 2, JSON: true, Run: run, Flags: []Flag{{Name: "state", Value: "DIR", Default: "/var/lib/davy"}, {Name: "yes"}, {Name: "note", Value: "TEXT"}}},
		{Name: "run", Max: -1, Run: run},
		{Name: "status", Run: run},
		{Name: "keep", Hidden: true, Run: run},
	}}
}

func TestLine(t *testing.T) {
	t.Setenv("LC_ALL", "C")
	f := func(line string, exit int, want, stderr string) {
		t.Helper()
		var last *Call
		var out, errw bytes.Buffer
		got := program(&last, nil).Main(strings.Fields(line), &out, &errw)
		saw := ""
		if last != nil {
			saw = strings.Join(last.Args, " ") + "|" + last.Flag("state") + "|" + last.Flag("note") + "|" + string(last.Lang)
			if last.JSON {
				saw += "|json"
			}
			if last.Set("yes") {
				saw += "|yes"
			}
		}
		if got != exit || saw != want || !strings.Contains(errw.String(), stderr) || stderr == "" && errw.Len() > 0 {
			t.Errorf("davy %s: exit %d, saw %q, said %q; want %d, %q, %q", line, got, saw, errw.String(), exit, want, stderr)
		}
	}
	f("check a", 0, "a|/var/lib/davy||en", "")
	f("check a b --json --yes", 0, "a b|/var/lib/davy||en|json|yes", "")
	f("check --state=x a", 0, "a|x||en", "")
	f("check -state x a", 0, "a|x||en", "")
	f("check a --note x=y --lang zh", 0, "a|/var/lib/davy|x=y|zh", "")
	f("--lang=zh_CN.UTF-8 check a", 0, "a|/var/lib/davy||zh", "")
	f("check -- --json -x", 0, "--json -x|/var/lib/davy||en", "")
	f("check -", 0, "-|/var/lib/davy||en", "")
	f("check a --note --json", 0, "a|/var/lib/davy|--json|en", "")
	f("run 1 2 3 4", 0, "1 2 3 4|||en", "")

	f("", 2, "", "check SITE")
	f("check", 2, "", "davy check takes: SITE")
	f("check a b c", 2, "", "davy check takes: SITE")
	f("status a", 2, "", "takes no arguments")
	f("check a --loud", 2, "", "--help --json --note --state --yes")
	f("check a --yes=no", 2, "", "--yes takes no value")
	f("check a --note", 2, "", "--note needs a value: TEXT")
	f("check a --state=", 2, "", "--state needs a value: DIR")
	f("check a --lang fr", 2, "", `unknown language "fr"`)
	f("check a --lang", 2, "", `unknown language ""`)
	f("--lang fr check a", 2, "", `unknown language "fr"`)
	f("chekc a", 2, "", "did you mean: check?")
	f("zzz", 2, "", "did you mean: help?")
	f("help zzz", 2, "", `unknown command "zzz"`)
	f("run --lang zh --nope", 2, "", "davy: 提示: 用法见 davy help run")
}

func TestHelpHidesWhatIsNotForHands(t *testing.T) {
	t.Setenv("LC_ALL", "C")
	var last *Call
	var out, errw bytes.Buffer
	if exit := program(&last, nil).Main([]string{"help"}, &out, &errw); exit != Done || errw.Len() > 0 {
		t.Fatalf("exit %d, %s", exit, &errw)
	}
	if strings.Contains(out.String(), "keep") || !strings.Contains(out.String(), "status") {
		t.Errorf("help:\n%s", &out)
	}
	for line := range strings.Lines(out.String()) {
		if strings.TrimRight(line, " \n") != strings.TrimRight(line, "\n") {
			t.Errorf("blanks at the end of %q", line)
		}
	}
}

func TestReport(t *testing.T) {
	t.Setenv("LC_ALL", "zh_CN.UTF-8")
	cause := errors.New("disk on fire")
	f := func(err error, exit int, want string) {
		t.Helper()
		var last *Call
		var out, errw bytes.Buffer
		if got := program(&last, err).Main([]string{"status"}, &out, &errw); got != exit || errw.String() != want || out.Len() > 0 {
			t.Errorf("%v: exit %d, %q; want %d, %q", err, got, errw.String(), exit, want)
		}
	}
	f(nil, Done, "")
	f(cause, Failed, "davy: 错误: disk on fire\n")
	f(Quiet(Wrong), Wrong, "")
	f(&Error{Exit: NotRunning, Key: "davy.not-running", Args: i18n.Args{"state": "x"}}, NotRunning, "davy: 错误: x 上没有 davy 在运行\n")
	f(&Error{Exit: Failed, Cause: cause}, Failed, "davy: 错误: disk on fire\n")
	f(&Error{Exit: Failed, Key: "davy.state", Args: i18n.Args{"state": "x"}, Cause: cause, Hint: "davy.hint.state"}, Failed,
		"davy: 错误: 状态目录 x 不能用: disk on fire\ndavy: 提示: 请创建它，或检查权限，或用 --state 指定别的目录\n")
	if !errors.Is(&Error{Cause: cause}, cause) {
		t.Error("the cause is lost")
	}
}

// A page that ends early is no success; an error of the command goes before.
func TestWhatIsNotWritten(t *testing.T) {
	t.Setenv("LC_ALL", "C")
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for result, want := range map[error]int{nil: Failed, Quiet(Wrong): Wrong} {
		p := &Program{Name: "davy", Commands: []Command{{Name: "status", Run: func(c *Call) error {
			c.Say("cli.error", nil)
			return result
		}}}}
		var errw bytes.Buffer
		if exit := p.Main([]string{"status"}, full, &errw); exit != want || (want == Failed) != strings.Contains(errw.String(), "not all of this could be written: write /dev/full") {
			t.Errorf("%v: exit %d, %s", result, exit, errw.String())
		}
		errw.Reset()
		if exit := p.Main([]string{"help"}, full, &errw); exit != Failed {
			t.Errorf("help: exit %d", exit)
		}
	}
}
