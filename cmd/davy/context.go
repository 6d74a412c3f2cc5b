package main

import (
	"io"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"davy/agent/cli"
	"davy/agent/config"
	"davy/agent/i18n"
	"davy/agent/operate"
	"davy/drivers"
	"davy/drivers/gpio"
	"davy/drivers/modbus"
	"davy/drivers/modbus/serial"
	"davy/drivers/opcua"
	"davy/drivers/sim"
	firmware "davy/firmware-configs"
	"davy/rules"
)

const defaultState = "/var/lib/davy"

// driverSet is every protocol that this binary speaks. A process that opens
// links makes it once: the drivers of a machine's own lines share what they hold.
func driverSet() drivers.Set {
	lines, hub := &serial.Lines{}, &modbus.Hub{}
	return drivers.Set{
		"modbus-tcp": modbus.TCP{Hub: hub}, "modbus-rtu": modbus.RTU{Lines: lines, Hub: hub}, "modbus-ascii": modbus.ASCII{Lines: lines, Hub: hub},
		"opcua": opcua.Driver{}, "gpio": gpio.New(), "ads1115": gpio.NewAnalogue(), "sim": &sim.Driver{},
	}
}

// person is who the operating system says is at the keyboard: claimed, not proved.
func person() string {
	name := "uid:" + strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	if by := os.Getenv("SUDO_USER"); by != "" && by != name {
		name += " (" + by + ")"
	}
	return name
}

// site reads and compiles a site directory; its problems are the caller's to print.
func site(c *cli.Call, dir string) (*config.Bundle, *config.Plan, config.Problems, error) {
	abs, err := filepath.Abs(dir)
	if err == nil {
		var info os.FileInfo
		if info, err = os.Stat(abs); err == nil && !info.IsDir() {
			return nil, nil, nil, &cli.Error{Exit: cli.Wrong, Key: "davy.site.not-dir", Args: i18n.Args{"dir": dir}, Hint: "davy.hint.site"}
		}
	}
	if err != nil {
		return nil, nil, nil, &cli.Error{Exit: cli.Wrong, Key: "davy.site.none", Args: i18n.Args{"dir": dir}, Hint: "davy.hint.site"}
	}
	bundle, problems := config.ReadSite(os.DirFS(abs), ".", firmware.Library)
	var plan *config.Plan
	if bundle != nil {
		var more config.Problems
		plan, more = config.Compile(bundle, driverSet())
		problems = problems.Join(more)
	}
	return bundle, plan, problems, nil
}

// compiled reads and compiles the site of the first argument and prints its
// problems; without a plan there is an error, in the words of key.
func compiled(c *cli.Call, key string) (*config.Bundle, *config.Plan, error) {
	bundle, plan, problems, err := site(c, c.Args[0])
	if err != nil {
		return nil, nil, err
	}
	if err := problems.Write(c.Err, c.Lang, bundle); err != nil {
		return nil, nil, err
	}
	if plan == nil {
		return nil, nil, wrongSite(key, c.Args[0], problems)
	}
	return bundle, plan, nil
}

// wrongSite says in one line what became of a site with problems that were
// printed above.
func wrongSite(key, dir string, problems config.Problems) error {
	n, _ := problems.Counts()
	return &cli.Error{Exit: cli.Wrong, Key: key, Args: i18n.Args{"dir": dir, "n": n}}
}

// logger writes JSON to w: standard error, where systemd's journal takes it.
func logger(c *cli.Call, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Flag("log-level"))); err != nil {
		return nil, cli.Usage("davy.log-level", i18n.Args{"value": c.Flag("log-level")})
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})), nil
}

// shortEnough refuses a state directory whose socket nobody could open.
func shortEnough(c *cli.Call) error {
	if n := len(socketPath(c)); n > operate.MaxPath {
		return &cli.Error{Exit: cli.Wrong, Key: "davy.state.long", Args: i18n.Args{"socket": socketPath(c), "length": n, "limit": operate.MaxPath}, Hint: "davy.hint.state-long"}
	}
	return nil
}

func socketPath(c *cli.Call) string { return filepath.Join(c.Flag("state"), "davy.sock") }

// words shows a text of the rules in the person's language.
type words rules.Text

// In implements i18n.Texter.
func (w words) In(l i18n.Lang) string {
	if l == i18n.Zh && w.Zh != "" || w.En == "" {
		return w.Zh
	}
	return w.En
}

func text(t rules.Text) words { return words(t) }
