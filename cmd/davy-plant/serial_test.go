package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"davy/agent/cli"
)

// pollLine runs mbpoll on a serial line.
func pollLine(t *testing.T, path string, args string) (string, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	full := append([]string{"-m", "rtu", "-b", "57600", "-P", "even", "-0", "-1", "-q", "-o", "1.0"}, strings.Fields(strings.ReplaceAll(args, "PATH", path))...)
	out, err := exec.CommandContext(ctx, "mbpoll", full...).CombinedOutput()
	if strings.Contains(string(out), "executable file not found") || ctx.Err() != nil {
		t.Fatalf("mbpoll: %v", err)
	}
	return string(out), err == nil
}

// An independent master on a serial line reads the same units as on TCP, writes
// to them, and sees what is wrong with them and with the line.
func TestForeignMaster(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ttyPLC")
	p := start(t, "", "--control", "127.0.0.1:0", "--rtu", path+":57600,8E1")
	if p.RTU != path {
		t.Fatalf("ready says %q", p.RTU)
	}
	p.send("hold nh3-2.gas 12.5")
	f := func(args, says string) {
		t.Helper()
		if out, _ := pollLine(t, path, args); !strings.Contains(out, says) {
			t.Errorf("mbpoll %s: want %q\n%s", args, says, out)
		}
	}
	const gas = "-a 2 -r 0 -c 1 -t 4:float -B PATH"
	f(gas, "[0]: \t12.5")
	f("-a 20 -r 20 -t 4 PATH 7 0 3", "Written 3 references")
	f("-a 20 -r 20 -c 3 -t 4 PATH", "[20]: \t7\n[21]: \t0\n[22]: \t3")
	f("-a 20 -r 1 -t 0 PATH 1", "Written 1 reference")
	f("-a 1 -r 3 -c 1 -t 4 PATH", "Illegal data address")
	for on, says := range map[string]string{
		"dead nh3-2": "timed out", "garbled nh3-2": "Invalid CRC", "wrong-station nh3-2": "not from requested",
		"line drop 1": "timed out", "line garble 1": "timed out", "line noise 1": "timed out",
	} {
		p.send(on)
		f(gas, says)
		p.send("clear")
		p.send("hold nh3-2.gas 12.5")
		f(gas, "[0]: \t12.5")
	}
	p.send("split nh3-2")
	f(gas, "[0]: \t12.5")
	p.send("split nh3-2 off")

	// Unplugged, the device hangs up and is gone; plugged in, it is back.
	held, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	p.send("line unplug")
	if err := held.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if n, err := held.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("unplugged: %d, %v", n, err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("unplugged: %v", err)
	}
	p.send("line plug")
	f(gas, "[0]: \t12.5")
	if c := p.stop(); c != cli.Done {
		t.Errorf("exit code %d", c)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the device file stays: %v", err)
	}
}

// ASCII on a line, RTU and ASCII over TCP, and a unit that dials in: the same units.
func TestFramings(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	path := filepath.Join(t.TempDir(), "ttyA")
	p := start(t, "", "--control", "127.0.0.1:0", "--ascii", path+":9600,7E1", "--rtu-tcp", "127.0.0.1:0",
		"--ascii-tcp", "127.0.0.1:0", "--dial", ln.Addr().String()+",rtu,GW-7", "--opcua", "127.0.0.1:0")
	if !strings.HasPrefix(p.OPCUA, "opc.tcp://127.0.0.1:") {
		t.Errorf("opcua %q", p.OPCUA)
	}
	rtu := []byte{11, 4, 0, 0, 0, 2, 0x71, 0x61}
	rtuAnswer := []byte{11, 4, 4, 0x42, 0x75, 0, 0, 0x54, 0x26}
	ascii, asciiAnswer := []byte(":0B0400000002EF\r\n"), []byte(":0B04044275000036\r\n")
	f := func(what string, c io.ReadWriter, ask, want []byte) {
		t.Helper()
		if _, err := c.Write(ask); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: got %q, %v, want %q", what, got, err, want)
		}
	}
	dial := func(addr string) net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	p.send("hold receiver1.level 61.25")
	f("rtu over tcp", dial(p.RTUTCP), rtu, rtuAnswer)
	f("ascii over tcp", dial(p.ASCIITCP), ascii, asciiAnswer)
	line, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	_ = line.SetDeadline(time.Now().Add(patience))
	f("ascii", line, ascii, asciiAnswer)
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	hello := make([]byte, 4)
	if _, err := io.ReadFull(c, hello); err != nil || string(hello) != "GW-7" {
		t.Errorf("%q, %v", hello, err)
	}
	f("dialled in", c, rtu, rtuAnswer)
}
