package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"davy/agent/cli"
	"davy/agent/export"
	"davy/agent/i18n"
)

// verifyCommand checks an evidence file with a public key, and nothing else.
func verifyCommand(c *cli.Call) error {
	if len(c.Args) != 2 {
		return cli.Usage("davy.verify.file", nil)
	}
	trust := export.Trust{Device: c.Flag("device"), Strict: c.Set("strict")}
	var err error
	if trust.Authority, err = publicKey(c, "authority"); err != nil {
		return err
	}
	if trust.Receiver, err = publicKey(c, "receiver"); err != nil {
		return err
	}
	certs, err := certificates(c)
	if err != nil {
		return err
	}
	for _, k := range certs {
		trust.Certificates = append(trust.Certificates, k.Certificate)
	}
	if len(certs) > 0 && trust.Authority == nil {
		return cli.Usage("davy.verify.needs-authority", nil)
	}
	path := c.Args[1]
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &cli.Error{Exit: cli.Wrong, Key: "davy.verify.none", Args: i18n.Args{"path": path}, Hint: "davy.hint.verify"}
	}
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := export.Verify(f, trust)
	if errors.Is(err, export.ErrFormat) {
		return &cli.Error{Exit: cli.Failed, Key: "davy.verify.not-evidence", Args: i18n.Args{"path": path}, Hint: "davy.hint.verify"}
	}
	if err != nil {
		return err
	}
	if c.JSON {
		err = encode(c, r)
	} else {
		writeVerified(c, path, r)
	}
	if err == nil && !r.Whole {
		return cli.Quiet(cli.Failed)
	}
	return err
}

// writeVerified says what Verify found as a person wants to read it: what there
// is, how far it is vouched for, what is wrong, and in the last line the verdict.
func writeVerified(c *cli.Call, path string, r *export.Report) {
	say := func(key string, args i18n.Args) { // the words of a file that anyone may have made
		for name, v := range args {
			if text, ok := v.(string); ok {
				args[name] = printable(text)
			}
		}
		c.Say(key, args)
	}
	zone := time.Local
	at := func(wall int64) string { return clockTime(wall, zone) }
	claim := &r.Claim
	say("davy.verify.head", i18n.Args{"path": path, "gateway": claim.Gateway, "made": at(claim.Made), "maker": claim.Maker, "zone": time.Now().In(zone).Format("-07:00")})
	if claim.From != 0 || claim.To != 0 {
		open := func(wall int64, key string) any {
			if wall == 0 {
				return i18n.Key(key)
			}
			return at(wall)
		}
		say("davy.verify.window-asked", i18n.Args{"from": open(claim.From, "davy.verify.oldest"), "to": open(claim.To, "davy.verify.newest")})
	}
	if len(claim.Streams) > 0 {
		say("davy.verify.streams-asked", i18n.Args{"streams": strings.Join(claim.Streams, ", ")})
	}
	if len(claim.Epochs) > 0 {
		say("davy.verify.epochs-asked", i18n.Args{"epochs": strings.Join(claim.Epochs, ", ")})
	}
	for i := range r.Epochs {
		e := &r.Epochs[i]
		say("davy.verify.epoch", i18n.Args{"epoch": e.Epoch, "leaves": e.Leaves, "gone": e.HashOnly})
		for _, s := range e.Streams {
			say("davy.verify.stream", i18n.Args{"stream": s.Stream, "numbers": numbered(s.First, s.Last), "records": s.Records, "from": at(s.WallFrom), "to": at(s.WallTo)})
		}
		upto := func(m *export.Mark) string {
			var parts []string
			for _, h := range m.Heads {
				parts = append(parts, h.Stream+" "+strconv.FormatUint(h.Number, 10))
			}
			return strings.Join(parts, ", ")
		}
		switch {
		case e.Witnessed != nil:
			say("davy.verify.witnessed", i18n.Args{"by": e.Witnessed.By, "at": at(e.Witnessed.Wall), "upto": upto(e.Witnessed)})
		case !c.Set("receiver") && !c.Set("authority"):
			say("davy.verify.witness-unknown", nil)
		case e.Signed != nil:
			say("davy.verify.not-witnessed", nil)
		}
		if e.Signed != nil && (e.Witnessed == nil || e.Signed.Size > e.Witnessed.Size) {
			key := "davy.verify.signed"
			if !e.Signed.Trusted {
				key = "davy.verify.signed-untrusted"
			}
			say(key, i18n.Args{"at": at(e.Signed.Wall), "upto": upto(e.Signed)})
		}
	}
	for _, d := range r.Device {
		key := "davy.verify.device"
		if !d.Vouched {
			key = "davy.verify.device-unknown"
		}
		say(key, i18n.Args{"fingerprint": d.Fingerprint})
	}
	for _, f := range r.Findings {
		key := "davy.verify.mark-wrong"
		if f.Told {
			key = "davy.verify.mark-told"
		}
		say(key, i18n.Args{"what": c.Lang.Text("davy.verify."+f.Code, findingArgs(&f))})
	}
	if r.More > 0 {
		say("davy.verify.more", i18n.Args{"count": r.More})
	}
	args := i18n.Args{"records": r.Records, "readings": r.Readings, "wrong": r.Wrong}
	if r.Whole {
		say("davy.verify.whole", args)
	} else {
		say("davy.verify.not-whole", args)
	}
}

// numbered is a range as a person writes it.
func numbered(from, to uint64) string {
	if to <= from {
		return strconv.FormatUint(from, 10)
	}
	return fmt.Sprintf("%d-%d", from, to)
}

func findingArgs(f *export.Finding) i18n.Args {
	short := func(id string) string {
		if len(id) == 32 && !strings.ContainsAny(id, ",-") {
			return id[:8]
		}
		return id
	}
	var kind any = f.Kind
	if key := "davy.verify.kind." + f.Kind; i18n.Has(key) {
		kind = i18n.Key(key)
	}
	return i18n.Args{
		"epoch": short(f.Epoch), "stream": f.Stream, "from": f.From, "to": f.To, "numbers": numbered(f.From, f.To), "leaf": f.Leaf,
		"expected": f.Expected, "got": f.Got, "kind": kind, "text": short(f.Text), "cause": f.Cause, "signed": f.From,
	}
}
