// Package cli is how the programs of Davy take their command line: a table of
// commands, flags with words in two languages, and the exit codes that all of
// them share.
//
// It promises that a wrong command line is answered with what is wrong, in the
// person's language, and exit code 2; that help needs nothing else to work;
// and that the words of a program named p stand in agent/i18n under
// "p.about", "p.<command>.short", "p.<command>.args", "p.<command>.long"
// (optional) and "p.flag.<flag>", or where a command means something of its own
// by a flag "p.<command>.flag.<flag>". Every program has --lang, --json where a
// command says so, and --help.
//
// Imports: i18n.
package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"davy/agent/i18n"
)

// The exit codes.
const (
	Done       = 0
	Failed     = 1
	Wrong      = 2 // usage or configuration
	NotRunning = 3
)

// Program is a table of commands.
type Program struct {
	Name     string
	Commands []Command
}

// Command is one of them.
type Command struct {
	Name  string
	Min   int // number of arguments, at least
	Max   int // at most; -1 any
	Flags []Flag
	JSON  bool // has --json
	// Hidden commands are for the program's own use (child processes).
	Hidden bool
	Run    func(*Call) error
}

// Flag of a command. Value names what it takes ("DIR"); empty: it is a switch.
type Flag struct {
	Name    string
	Value   string
	Default string
}

// Call is one call of a command.
type Call struct {
	Lang     i18n.Lang
	Args     []string
	JSON     bool
	Out, Err io.Writer
	flags    map[string]string
}

// Flag returns the value of a flag, or its default.
func (c *Call) Flag(name string) string { return c.flags[name] }

// Set reports whether a switch was given.
func (c *Call) Set(name string) bool { return c.flags[name] != "" }

// Say prints the words of key with a newline.
func (c *Call) Say(key string, args i18n.Args) { fmt.Fprintln(c.Out, c.Lang.Text(key, args)) }

// Error is an error for a person, with an exit code.
type Error struct {
	Exit  int
	Key   string // words; empty: only the cause
	Args  i18n.Args
	Hint  string // key of the remedy
	Cause error
	Quiet bool // everything was said already
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Key + ": " + e.Cause.Error()
	}
	return e.Key
}

func (e *Error) Unwrap() error { return e.Cause }

// Quiet is an error whose words were already said.
func Quiet(exit int) error { return &Error{Exit: exit, Quiet: true} }

// Usage is an error of the command line.
func Usage(key string, args i18n.Args) error { return &Error{Exit: Wrong, Key: key, Args: args} }

// Main runs the program and returns its exit code. args are without the
// program's name. What was not written where it should be (a full disk) is
// Failed: a command need not look at what Call.Out returns.
func (p *Program) Main(args []string, out, errw io.Writer) int {
	o := &output{to: out}
	c := &Call{Lang: i18n.FromEnv(), Out: o, Err: errw, flags: map[string]string{}}
	exit := p.run(c, args, o, errw)
	if err := o.failed(); err != nil && exit == Done {
		return p.report(c, &Error{Exit: Failed, Key: "cli.output", Cause: err})
	}
	return exit
}

// output keeps the first error of what is written to.
type output struct {
	to  io.Writer
	mu  sync.Mutex
	err error
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.to.Write(b)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

func (o *output) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

func (p *Program) run(c *Call, args []string, out, errw io.Writer) int {
	args = c.takeLang(args)
	if len(args) == 0 {
		p.help(c, errw)
		return Wrong
	}
	if name := args[0]; name == "help" || name == "--help" || name == "-h" {
		if len(args) == 1 {
			p.help(c, out)
			return Done
		}
		cmd := p.find(args[1])
		if cmd == nil {
			return p.report(c, p.unknown(args[1]))
		}
		p.helpOf(c, cmd, out)
		return Done
	}
	if lang, ok := strings.CutPrefix(args[0], "--lang="); ok {
		return p.report(c, Usage("cli.language", i18n.Args{"value": lang}))
	}
	cmd := p.find(args[0])
	if cmd == nil {
		return p.report(c, p.unknown(args[0]))
	}
	err := c.parse(cmd, args[1:])
	if err == nil && c.flags["help"] != "" {
		p.helpOf(c, cmd, out)
		return Done
	}
	if err == nil && (len(c.Args) < cmd.Min || cmd.Max >= 0 && len(c.Args) > cmd.Max) {
		key := "cli.arguments"
		if cmd.Max == 0 {
			key = "cli.no-arguments"
		}
		err = Usage(key, i18n.Args{"command": p.Name + " " + cmd.Name, "args": i18n.Key(p.Name + "." + cmd.Name + ".args")})
	}
	var usage *Error
	if errors.As(err, &usage) {
		usage.Hint, usage.Args["help"] = "cli.hint.help", p.Name+" help "+cmd.Name
	}
	if err == nil {
		err = cmd.Run(c)
	}
	return p.report(c, err)
}

// takeLang takes --lang out of the line wherever it stands.
func (c *Call) takeLang(args []string) []string {
	var rest []string
	for i := 0; i < len(args); i++ {
		v, ok := strings.CutPrefix(args[i], "--lang=")
		if !ok && args[i] == "--lang" && i+1 < len(args) {
			i++
			v, ok = args[i], true
		}
		if l, known := i18n.Parse(v); ok && known {
			c.Lang = l
			continue
		}
		if ok {
			rest = append(rest, "--lang="+v) // an unknown language: parse will name it
			continue
		}
		rest = append(rest, args[i])
	}
	return rest
}

func (c *Call) parse(cmd *Command, args []string) error {
	known := map[string]Flag{"help": {Name: "help"}}
	if cmd.JSON {
		known["json"] = Flag{Name: "json"}
	}
	for _, f := range cmd.Flags {
		known[f.Name] = f
		if f.Default != "" {
			c.flags[f.Name] = f.Default
		}
	}
	for i := 0; i < len(args); i++ {
		a := args[i]
		if a == "--" {
			c.Args = append(c.Args, args[i+1:]...)
			break
		}
		if !strings.HasPrefix(a, "-") || a == "-" {
			c.Args = append(c.Args, a)
			continue
		}
		name, value, has := strings.Cut(strings.TrimLeft(a, "-"), "=")
		if name == "lang" {
			return Usage("cli.language", i18n.Args{"value": value})
		}
		f, ok := known[name]
		if name == "h" {
			f, ok = known["help"], true
		}
		switch {
		case !ok:
			names := make([]string, 0, len(known))
			for n := range known {
				names = append(names, "--"+n)
			}
			slices.Sort(names)
			return Usage("cli.unknown-flag", i18n.Args{"flag": a, "command": cmd.Name, "flags": strings.Join(names, " ")})
		case f.Value == "" && has:
			return Usage("cli.flag-takes-none", i18n.Args{"flag": "--" + f.Name})
		case f.Value == "":
			c.flags[f.Name] = "true"
		case !has && i+1 < len(args):
			i++
			value = args[i]
			fallthrough
		default:
			if value == "" { // "--state=$EMPTY" must not become the working directory
				return Usage("cli.flag-needs", i18n.Args{"flag": "--" + f.Name, "value": f.Value})
			}
			c.flags[f.Name] = value
		}
	}
	c.JSON = c.flags["json"] != ""
	return nil
}

func (p *Program) find(name string) *Command {
	for i := range p.Commands {
		if p.Commands[i].Name == name {
			return &p.Commands[i]
		}
	}
	return nil
}

func (p *Program) unknown(command string) error {
	return Usage("cli.unknown-command", i18n.Args{"command": command, "near": p.near(command)})
}

// near names the commands that begin alike.
func (p *Program) near(name string) string {
	var out []string
	for _, c := range p.Commands {
		if !c.Hidden && len(name) > 0 && c.Name[0] == name[0] {
			out = append(out, c.Name)
		}
	}
	if len(out) == 0 {
		return "help"
	}
	return strings.Join(out, ", ")
}

// report says an error and returns the exit code.
func (p *Program) report(c *Call, err error) int {
	if err == nil {
		return Done
	}
	var e *Error
	if !errors.As(err, &e) {
		fmt.Fprintf(c.Err, "%s: %s: %v\n", p.Name, c.Lang.Text("cli.error", nil), err)
		return Failed
	}
	if e.Quiet {
		return e.Exit
	}
	text := ""
	if e.Key != "" {
		text = c.Lang.Text(e.Key, e.Args)
	}
	if e.Cause != nil {
		if text != "" {
			text += ": "
		}
		text += e.Cause.Error()
	}
	fmt.Fprintf(c.Err, "%s: %s: %s\n", p.Name, c.Lang.Text("cli.error", nil), text)
	if e.Hint != "" {
		fmt.Fprintf(c.Err, "%s: %s: %s\n", p.Name, c.Lang.Text("cli.hint", nil), c.Lang.Text(e.Hint, e.Args))
	}
	return e.Exit
}

func (p *Program) help(c *Call, w io.Writer) {
	fmt.Fprintf(w, "%s\n\n", c.Lang.Text(p.Name+".about", nil))
	width := 0
	for _, cmd := range p.Commands {
		if !cmd.Hidden {
			width = max(width, i18n.Width(cmd.Name+" "+c.Lang.Text(p.Name+"."+cmd.Name+".args", nil)))
		}
	}
	for _, cmd := range p.Commands {
		if !cmd.Hidden {
			head := cmd.Name + " " + c.Lang.Text(p.Name+"."+cmd.Name+".args", nil)
			fmt.Fprintf(w, "  %s  %s\n", i18n.Pad(head, width), c.Lang.Text(p.Name+"."+cmd.Name+".short", nil))
		}
	}
	fmt.Fprintf(w, "\n%s\n", c.Lang.Text("cli.footer", i18n.Args{"program": p.Name}))
}

func (p *Program) helpOf(c *Call, cmd *Command, w io.Writer) {
	head := strings.TrimSpace(p.Name + " " + cmd.Name + " " + c.Lang.Text(p.Name+"."+cmd.Name+".args", nil))
	fmt.Fprintf(w, "%s\n\n%s\n", head, c.Lang.Text(p.Name+"."+cmd.Name+".short", nil))
	if key := p.Name + "." + cmd.Name + ".long"; i18n.Has(key) {
		fmt.Fprintf(w, "\n%s\n", c.Lang.Text(key, nil))
	}
	flags := slices.Clone(cmd.Flags)
	if cmd.JSON {
		flags = append(flags, Flag{Name: "json"})
	}
	flags = append(flags, Flag{Name: "lang", Value: "zh|en"})
	fmt.Fprintln(w)
	for _, f := range flags {
		head, key := "--"+f.Name, p.Name+".flag."+f.Name
		if f.Value != "" {
			head += " " + f.Value
		}
		if own := p.Name + "." + cmd.Name + ".flag." + f.Name; i18n.Has(own) {
			key = own
		}
		if !i18n.Has(key) {
			key = "cli.flag." + f.Name
		}
		text := c.Lang.Text(key, nil)
		if f.Default != "" {
			text += " (" + f.Default + ")"
		}
		fmt.Fprintf(w, "  %s  %s\n", i18n.Pad(head, 22), text)
	}
}
