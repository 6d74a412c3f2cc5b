package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"davy/agent"
	"davy/agent/cli"
	"davy/agent/clock"
	"davy/agent/i18n"
	"davy/agent/secret"
	"davy/drivers"
	"davy/drivers/opcua"
	"davy/drivers/opcua/worker"
)

// The limits of davy browse.
const (
	browseWait = 5 * time.Second // for one call
	browseMost = 10_000          // variables that --max may ask for
)

// browse shows how an OPC UA server may be spoken to and which certificate it
// has, keeps that certificate once a person has compared its fingerprint, and
// prints the server's variables in the form of a site file.
func browse(c *cli.Call) error {
	target := c.Args[0]
	if !strings.Contains(target, "://") {
		target = "opc.tcp://" + target
	}
	most, err := strconv.Atoi(c.Flag("max"))
	if err != nil || most < 1 || most > browseMost {
		return cli.Usage("davy.browse.max", i18n.Args{"value": c.Flag("max"), "most": browseMost})
	}
	server, err := worker.Ask(context.Background(), target, browseWait)
	if err != nil {
		return &cli.Error{Exit: cli.Failed, Key: "davy.browse.unreachable", Args: i18n.Args{"target": target}, Cause: err, Hint: "davy.hint.browse.unreachable"}
	}
	showServer(c, target, server)
	security, file := c.Flag("security"), c.Flag("trust")
	if file != "" {
		if security == "" {
			security = strongest(server)
		}
		if security == "" || strings.EqualFold(security, "none") {
			return &cli.Error{Exit: cli.Failed, Key: "davy.browse.no-security", Hint: "davy.hint.browse.no-security"}
		}
		if err := trust(c, file, server.Certificate); err != nil {
			return err
		}
	}
	if security == "" {
		next := "davy.browse.next"
		if strongest(server) == "" {
			next = "davy.browse.next-none"
		}
		c.Say(next, i18n.Args{"target": target})
		return nil
	}
	return walk(c, target, security, file, most)
}

// showServer prints what the server says of itself.
func showServer(c *cli.Call, target string, s *worker.Server) {
	c.Say("davy.browse.server", i18n.Args{"target": target, "name": printable(s.Name), "uri": printable(s.ApplicationURI)})
	for _, o := range s.Offers {
		key := "davy.browse.offer"
		switch {
		case o.Mode == opcua.ModeNone:
			key = "davy.browse.offer-none"
		case !o.Known:
			key = "davy.browse.offer-unknown"
		case o.Legacy:
			key = "davy.browse.offer-legacy"
		}
		c.Say(key, i18n.Args{"policy": printable(o.Policy), "mode": o.Mode, "logins": strings.Join(o.Logins, ", ")})
	}
	x := s.Certificate
	if x == nil {
		c.Say("davy.browse.no-certificate", nil)
		return
	}
	c.Say("davy.browse.certificate", i18n.Args{
		"subject": printable(x.Subject), "uri": printable(x.URI), "bits": x.Bits,
		"from": x.NotBefore.Local().Format(time.DateTime), "to": x.NotAfter.Local().Format(time.DateTime), "sha256": x.SHA256,
	})
	switch now := time.Now(); {
	case x.Bits == 0:
		c.Say("davy.browse.not-rsa", nil)
	case now.After(x.NotAfter) || now.Before(x.NotBefore):
		c.Say("davy.browse.expired", nil)
	case x.URI != s.ApplicationURI:
		c.Say("davy.browse.other-uri", nil)
	}
	if ok, _ := clock.Trusted(); !ok {
		c.Say("davy.browse.clock", nil)
	}
}

// strongest is the best that the server offers and we speak, as the site file has it.
func strongest(s *worker.Server) string {
	for _, mode := range []opcua.Mode{opcua.ModeSignAndEncrypt, opcua.ModeSign} {
		for _, policy := range []string{opcua.PolicyAes256, opcua.PolicyBasic256Sha256, opcua.PolicyAes128} {
			for _, o := range s.Offers {
				if o.Policy == policy && o.Mode == mode {
					return policy + ", " + o.Mode.String()
				}
			}
		}
	}
	return ""
}

// trust writes the certificate to file once the person has compared it. One
// that is there already is never replaced: another certificate is another server.
func trust(c *cli.Call, file string, x *worker.Certificate) error {
	if x == nil {
		return &cli.Error{Exit: cli.Failed, Key: "davy.browse.no-certificate"}
	}
	have, err := os.ReadFile(file)
	switch {
	case err == nil && bytes.Equal(derOf(have), x.DER):
		c.Say("davy.browse.trusted-already", i18n.Args{"file": file})
		return nil
	case err == nil:
		return &cli.Error{Exit: cli.Failed, Key: "davy.browse.changed", Args: i18n.Args{"file": file, "had": worker.Fingerprint(derOf(have))}, Hint: "davy.hint.browse.changed"}
	case !errors.Is(err, fs.ErrNotExist):
		return &cli.Error{Exit: cli.Failed, Key: "davy.browse.file", Args: i18n.Args{"file": file}, Cause: err}
	}
	if !c.Set("yes") {
		c.Say("davy.browse.compare", nil)
		if !agreed(c) {
			return &cli.Error{Exit: cli.Failed, Key: "davy.browse.not-trusted"}
		}
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err == nil {
		_, err = f.Write(x.DER)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			os.Remove(file) // half of it would be taken for another server's
		}
	}
	if err != nil {
		return &cli.Error{Exit: cli.Failed, Key: "davy.browse.file", Args: i18n.Args{"file": file}, Cause: err}
	}
	c.Say("davy.browse.trusted", i18n.Args{"file": file})
	return nil
}

// agreed asks the person at the keyboard whether the fingerprint is the same.
func agreed(c *cli.Call) bool {
	fmt.Fprint(c.Out, c.Lang.Text("davy.browse.confirm", nil)+" ")
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil && line == "" {
		fmt.Fprintln(c.Out)
	}
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes" || answer == c.Lang.Text("davy.browse.yes", nil)
}

// derOf takes a certificate out of a PEM file; DER stays as it is.
func derOf(raw []byte) []byte {
	if b, _ := pem.Decode(raw); b != nil {
		return b.Bytes
	}
	return raw
}

// walk makes a session as a link of a site would and prints what it finds.
func walk(c *cli.Call, target, security, file string, most int) error {
	fields := drivers.Fields{"security": security}
	if file != "" {
		raw, err := os.ReadFile(file)
		if err != nil {
			return &cli.Error{Exit: cli.Failed, Key: "davy.browse.file", Args: i18n.Args{"file": file}, Cause: err}
		}
		fields["trust"] = string(raw)
	}
	if login := c.Flag("login"); login != "" {
		fields["login"] = login
	}
	settings, err := opcua.Driver{}.ParseLink(target, fields)
	if err != nil {
		return &cli.Error{Exit: cli.Wrong, Key: "davy.browse.settings", Args: i18n.Args{"why": hintText(c, err)}}
	}
	state := c.Flag("state")
	dir := filepath.Join(state, agent.DriverDir)
	hello := opcua.Hello{
		Version: opcua.Version, Now: clock.Now(), Name: "browse", Target: settings.Target, Options: *settings.Options.(*opcua.Options),
		Dir: dir, Timeout: browseWait,
	}
	if name := hello.Options.Login.Secret; name != "" {
		kept, err := secret.Get(state, name)
		if err != nil {
			return &cli.Error{Exit: cli.Failed, Key: "davy.browse.secret", Args: i18n.Args{"name": name}, Cause: err}
		}
		hello.User, hello.Password = hello.Options.Login.User, kept
		if hello.User == "" {
			hello.User, hello.Password, _ = strings.Cut(kept, ":")
		}
	}
	found, more, err := worker.Walk(context.Background(), hello, worker.Options{
		Log:          slog.New(slog.DiscardHandler),
		ClockTrusted: func() bool { return true }, // a person has seen the dates
	}, most)
	if oerr := ownAs(state, filepath.Join(dir, "opcua")); err == nil {
		err = oerr
	}
	if err != nil {
		return &cli.Error{Exit: cli.Failed, Key: "davy.browse.walk", Args: i18n.Args{"target": settings.Target}, Cause: err, Hint: "davy.hint.browse.walk"}
	}
	writeMap(c, settings.Target, security, file, found)
	if more {
		c.Say("davy.browse.more", i18n.Args{"max": most})
	}
	return nil
}

// hintText is an error of the configuration in the person's language.
func hintText(c *cli.Call, err error) string {
	var h *drivers.Hint
	if !errors.As(err, &h) {
		return err.Error()
	}
	text := c.Lang.Text("problem."+h.Code, i18n.Args(h.Args))
	if h.Hint != "" {
		text += ": " + c.Lang.Text("hint."+h.Hint, i18n.Args(h.Args))
	}
	return text
}

// ownAs gives a directory that root made to whom the state directory belongs.
func ownAs(state, dir string) error {
	info, err := os.Stat(state)
	if err != nil || os.Getuid() != 0 {
		return nil
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid == 0 {
		return nil
	}
	for _, top := range []string{filepath.Dir(dir), dir} {
		if err := os.Lchown(top, int(owner.Uid), int(owner.Gid)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil { // nothing was made there
			return nil
		}
		return os.Lchown(name, int(owner.Uid), int(owner.Gid))
	})
}

// writeMap prints variables as a site file has them.
func writeMap(c *cli.Call, target, security, file string, found []worker.Found) {
	name := "server"
	if u, err := url.Parse(target); err == nil {
		name = "opcua-" + strings.NewReplacer(".", "-", ":", "-").Replace(u.Hostname())
	}
	var b strings.Builder
	fmt.Fprintf(&b, "links:\n  %s:\n    opcua: %s\n    security: %s\n", name, target, security)
	if file != "" {
		fmt.Fprintf(&b, "    trust: %s\n", scalar(filepath.Base(file)))
	}
	if login := c.Flag("login"); login != "" {
		fmt.Fprintf(&b, "    login: %s\n", scalar(login))
	}
	fmt.Fprintf(&b, "devices:\n  %s:\n    link: %s\n    tags:\n", name, name)
	used := map[string]bool{}
	for i := range found {
		f := &found[i]
		at := f.Address.String()
		if f.Array {
			at = "element 0 of " + at
		}
		lead := "      "
		if f.Type == "" || f.Type == "text" { // no tag holds it as it is: left for a person
			lead = "      # "
		}
		fmt.Fprintf(&b, "%s%s:\n%s  at: %s\n%s  type: %s\n", lead, unique(used, slug(f.Path)), lead, scalar(at), lead, f.Type)
		if f.Display != "" {
			fmt.Fprintf(&b, "%s  text: {zh: %s, en: %s}\n", lead, quote(f.Display), quote(f.Display))
		}
	}
	_, _ = io.WriteString(c.Out, b.String()) // cli.Main says what was not written
}

// slug makes a tag's name of the names on the way to it: the last two at most.
func slug(path []string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(strings.Join(path[max(0, len(path)-2):], "-")) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	s := strings.Trim(b.String(), "-")
	if s == "" || s[0] < 'a' {
		s = strings.TrimSuffix("tag-"+s, "-")
	}
	return s[:min(len(s), 48)]
}

func unique(used map[string]bool, s string) string {
	for n, name := 2, s; ; n++ {
		if !used[name] {
			used[name] = true
			return name
		}
		name = s + "-" + strconv.Itoa(n)
	}
}

// scalar writes a text as YAML takes it: quoted where it would be something else.
func scalar(s string) string {
	if s == "" || strings.ContainsAny(s, "'\"{}[],&*!|>%@`") || strings.Contains(s, ": ") || strings.Contains(s, " #") || strings.HasSuffix(s, ":") || strings.TrimSpace(s) != s || s != printable(s) {
		return quote(s)
	}
	return s
}

func quote(s string) string { return "'" + strings.ReplaceAll(printable(s), "'", "''") + "'" }

// printable takes out of a stranger's text what could move the cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
