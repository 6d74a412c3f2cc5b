package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"davy/agent/cli"
	"davy/cmd/davy-plant/control"
	"davy/cmd/davy-plant/logbook"
)

const patience = 30 * time.Second

// plant is `davy-plant run`, in process, on real sockets.
type plant struct {
	ready
	t    *testing.T
	stop func() int
}

func start(t *testing.T, in string, args ...string) *plant {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	var errs bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- program(ctx, strings.NewReader(in)).Main(append([]string{"run", "--lang", "en", "--listen", "127.0.0.1:0"}, args...), w, &errs)
		_ = w.Close()
	}()
	p := &plant{t: t}
	line, err := bufio.NewReader(r).ReadString('\n')
	p.stop = sync.OnceValue(func() int {
		cancel()
		select {
		case c := <-code:
			return c
		case <-time.After(patience):
			t.Error("run does not end")
			return -1
		}
	})
	t.Cleanup(func() { p.stop() })
	if err != nil {
		p.stop()
		t.Fatalf("no ready line: %v\n%s", err, errs.String())
	}
	if err := json.Unmarshal([]byte(line), &p.ready); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return p
}

func (p *plant) send(command string) string {
	p.t.Helper()
	answer, err := control.Send(p.t.Context(), p.Control, command)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer
}

// until asks for the state until it holds what is wanted.
func (p *plant) until(want string) {
	p.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if strings.Contains(p.send("state"), want) {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	p.t.Fatalf("the plant never says %s: %s", want, p.send("state"))
}

// poll runs mbpoll, an independent client over libmodbus.
func poll(t *testing.T, addr string, args ...string) (string, bool) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	full := append([]string{"-m", "tcp", "-p", port, "-0", "-1", "-q", "-o", "1.0"}, args...)
	for i, a := range full {
		if a == "HOST" {
			full[i] = host
		}
	}
	out, err := exec.CommandContext(ctx, "mbpoll", full...).CombinedOutput()
	if strings.Contains(string(out), "executable file not found") || ctx.Err() != nil {
		t.Fatalf("mbpoll: %v", err)
	}
	return string(out), err == nil
}

// An independent client reads and writes everything there is.
func TestForeignClient(t *testing.T) {
	if _, err := exec.LookPath("mbpoll"); err != nil {
		t.Fatal("this test needs mbpoll (Debian package mbpoll): ", err)
	}
	p := start(t, "", "--control", "127.0.0.1:0", "--log", filepath.Join(t.TempDir(), "p.jsonl"))
	p.send("hold nh3-2.gas 12.5")
	p.send("hold comp1.discharge-temp 101.5")
	p.send("hold receiver1.level 61.25")
	for _, x := range []struct {
		args, says string
	}{
		{"-a 2 -r 0 -c 1 -t 4:float -B HOST", "[0]: \t12.5"},
		{"-a 10 -r 4 -c 1 -t 4:float HOST", "[4]: \t101.5"},
		{"-a 11 -r 0 -c 1 -t 3:float -B HOST", "[0]: \t61.25"},
		{"-a 10 -r 0 -c 2 -t 1 HOST", "[0]: \t1\n[1]: \t0"},
		{"-a 20 -r 20 -c 4 -t 4 HOST", "[20]: \t0"},
		{"-a 20 -r 20 -t 4 HOST 7 0 3", "Written 3 references"}, // function 16
		{"-a 20 -r 20 -c 3 -t 4 HOST", "[20]: \t7\n[21]: \t0\n[22]: \t3"},
		{"-a 20 -r 22 -t 4 HOST 0", "Written 1 reference"},   // function 6
		{"-a 20 -r 0 -t 0 HOST 1 1", "Written 2 references"}, // function 15
		{"-a 20 -r 1 -t 0 HOST 0", "Written 1 reference"},    // function 5
		{"-a 20 -r 0 -c 2 -t 0 HOST", "[0]: \t1\n[1]: \t0"},
	} {
		if out, ok := poll(t, p.Modbus, strings.Fields(x.args)...); !ok || !strings.Contains(out, x.says) {
			t.Errorf("mbpoll %s: want %q\n%s", x.args, x.says, out)
		}
	}
	p.until(`"fan":{"command":true,"runs":true}`)
	if out, _ := poll(t, p.Modbus, strings.Fields("-a 1 -r 3 -c 1 -t 4 HOST")...); !strings.Contains(out, "Illegal data address") {
		t.Errorf("an address that is not there:\n%s", out)
	}
	if out, _ := poll(t, p.Modbus, strings.Fields("-a 1 -r 0 -t 4 HOST 1")...); !strings.Contains(out, "Illegal data address") {
		t.Errorf("a write to a detector:\n%s", out)
	}
	p.send("dead nh3-2")
	if out, _ := poll(t, p.Modbus, strings.Fields("-a 2 -r 0 -c 1 -t 4:float -B HOST")...); !strings.Contains(out, "timed out") {
		t.Errorf("a dead transmitter:\n%s", out)
	}
	if c := p.stop(); c != cli.Done {
		t.Errorf("exit code %d", c)
	}
	log, err := logbook.Read(p.Log)
	if err != nil {
		t.Fatal(err)
	}
	functions := map[int]int{}
	for _, e := range log {
		if e.Event == logbook.Write && *e.Done {
			functions[e.Function]++
		}
	}
	for _, f := range []int{5, 6, 15, 16} {
		if functions[f] != 1 {
			t.Errorf("%d writes with function %d in the log", functions[f], f)
		}
	}
	if log[len(log)-1].Event != logbook.Stop {
		t.Errorf("the log ends with %+v", log[len(log)-1])
	}
}

// The control line: answers, mistakes in both languages, marks that are in the
// log when they are answered; over TCP and over a unix socket.
func TestControl(t *testing.T) {
	dir := t.TempDir()
	for _, addr := range []string{"127.0.0.1:0", "unix:" + filepath.Join(dir, "c.sock")} {
		p := start(t, "at 0s hold nh3-1.gas 33\n", "--control", addr, "--log", filepath.Join(dir, "p.jsonl"), "--script", "-", "--lang", "zh")
		p.until(`"nh3-1.gas":33`)
		p.send("mark here we are")
		log, err := logbook.Read(p.Log)
		if err != nil || logbook.MarkAt(log, "here we are") == 0 {
			t.Errorf("the mark is not in the log: %v", err)
		}
		f := func(code int, says string, args ...string) {
			t.Helper()
			var out, errs bytes.Buffer
			got := program(t.Context(), nil).Main(append([]string{"send", "--lang", "en"}, args...), &out, &errs)
			if all := out.String() + errs.String(); got != code || !strings.Contains(all, says) {
				t.Errorf("send %v: %d, want %d and %q\n%s", args, got, code, says, all)
			}
		}
		f(cli.Done, "", "--control", p.Control, "leak start 3")
		f(cli.Done, `"leak_ppm_s":3`, "--control", p.Control, "state")
		f(cli.Done, "leak start RATE", "--control", p.Control, "help")
		f(cli.Wrong, "没有“leek”这条命令；是不是想写：leak？", "--control", p.Control, "leek")
		f(cli.Wrong, "--control", "leak", "stop")
		if c := p.stop(); c != cli.Done {
			t.Errorf("exit code %d", c)
		}
		f(cli.Failed, "is the plant running?", "--control", p.Control, "state")
	}
}

// What is wrong with the command line is said, with a remedy, in both languages.
func TestCommandLine(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	f := func(code int, en, zh string, args ...string) {
		t.Helper()
		for lang, says := range map[string]string{"en": en, "zh": zh} {
			var out, errs bytes.Buffer
			in := strings.NewReader("at 1s leek\nat 2s leak\n")
			got := program(t.Context(), in).Main(append([]string{"--lang", lang}, args...), &out, &errs)
			if all := out.String() + errs.String(); got != code || !strings.Contains(all, says) || strings.Contains(all, "⟨") {
				t.Errorf("%v in %s: %d, want %d and %q\n%s", args, lang, got, code, says, all)
			}
		}
	}
	f(cli.Wrong, "run [flags]", "run [选项]")
	f(cli.Done, "run the plant", "运行装置", "help")
	f(cli.Done, "at 12s leak start 40", "at 12s leak start 40", "help", "run")
	f(cli.Wrong, "unknown command", "", "rum")
	f(cli.Wrong, "--speed cannot be \"0\"", "--speed 不能是“0”", "run", "--speed", "0")
	f(cli.Wrong, "--speed", "--speed", "run", "--speed", "NaN")
	f(cli.Wrong, "--seed cannot be \"x\"", "--seed 不能是“x”", "run", "--seed", "x")
	f(cli.Wrong, "--for", "--for", "run", "--for", "5")
	f(cli.Wrong, "nh3-1.gas, ", "nh3-1.gas, ", "run", "--watch", "nh3-9.gas=4")
	f(cli.Wrong, "--watch", "--watch", "run", "--watch", "nh3-1.gas=much")
	f(cli.Wrong, "the script cannot be read", "脚本读不出来", "run", "--script", "/nowhere/x.txt")
	f(cli.Wrong, "script line 1: there is no command \"leek\"", "脚本第 2 行：“leak start RATE”没有写完整", "run", "--script", "-")
	f(cli.Failed, "listen control 0.0.0.0:0: not a loopback address", "控制口只能开在本机", "run", "--listen", "127.0.0.1:0", "--control", "0.0.0.0:0")
	f(cli.Failed, "choose another address", "换一个地址", "run", "--listen", taken.Addr().String())
	f(cli.Failed, "open log", "open log", "run", "--listen", "127.0.0.1:0", "--log", "/nowhere/p.jsonl")
	f(cli.Failed, "write log", "write log", "run", "--listen", "127.0.0.1:0", "--log", "/dev/full")
	f(cli.Done, `{"modbus":"127.0.0.1:`, `"seed":9,"speed":2`, "run", "--listen", "127.0.0.1:0", "--for", "20ms", "--seed", "9", "--speed", "2")
}
