package keep

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"davy/agent/config"
	"davy/agent/secret"
)

const ecoSite = `davy: 1
gateway:
  id: GW-1
  name: {zh: 冷库, en: Cold store}
  time_zone: Asia/Shanghai
links:
  plc:
    modbus-tcp: 192.0.2.20:502
devices:
  comp1:
    link: plc
    station: 1
    tags:
      temp:
        at: holding 10
        type: float32 CDAB
        range: -50 to 180 °C
        record: every 10s
uplinks:
  eco:
    hj212:
      address: tcp://203.0.113.5:9000
      mn: 010000A8900016F000169DC0
      pw: secret eco-pw
      st: 31
      minute: 1min
      log: answered
      factors:
        comp1.temp: a01012
`

// eco is a host of HJ 212 as far as it answers data.
type eco struct {
	mu     sync.Mutex
	frames []string // command and CP
	wait   sync.WaitGroup
}

var ecoFrame = regexp.MustCompile(`^##[0-9]{4}QN=([0-9]{17});ST=31;CN=([0-9]{4});PW=123456;MN=010000A8900016F000169DC0;Flag=([45]);CP=&&(.*)&&[0-9A-F]{4}\r\n$`)

func (e *eco) dial(address string) func(context.Context) (net.Conn, error) {
	return func(context.Context) (net.Conn, error) {
		if address != "203.0.113.5:9000" {
			return nil, fmt.Errorf("no host %s", address)
		}
		ours, theirs := net.Pipe()
		e.wait.Go(func() {
			defer theirs.Close()
			in := bufio.NewReader(theirs)
			for {
				line, err := in.ReadString('\n')
				m := ecoFrame.FindStringSubmatch(line)
				if err != nil || m == nil {
					return
				}
				e.mu.Lock()
				e.frames = append(e.frames, m[2]+" "+m[4])
				e.mu.Unlock()
				if m[3] == "5" {
					seg := "QN=" + m[1] + ";ST=91;CN=9014;PW=123456;MN=010000A8900016F000169DC0;Flag=4;CP=&&&&"
					reg := uint16(0xffff)
					for i := range len(seg) { // appendix A
						reg = reg>>8 ^ uint16(seg[i])
						for range 8 {
							reg = reg>>1 ^ -(reg&1)&0xa001
						}
					}
					fmt.Fprintf(theirs, "##%04d%s%04X\r\n", len(seg), seg, reg)
				}
			}
		})
		return ours, nil
	}
}

func (e *eco) of(cn string) (out []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range e.frames {
		if cp, ok := strings.CutPrefix(f, cn+" "); ok {
			out = append(out, cp)
		}
	}
	return out
}

// From the decider's turns to the host: the statistics of each minute once,
// also where the keeper was killed in one of them, and alarms in the log.
func TestHJ212ThroughTheKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t)
		b := &config.Bundle{}
		b.Put(config.SiteFile, []byte(ecoSite))
		p.hello.Bundle = b.Encode()
		if err := secret.Set(p.dir, "eco-pw", "123456"); err != nil {
			t.Fatal(err)
		}
		e := &eco{}
		p.tcp = e.dial
		_, cut := p.keeper()
		began := time.Now()
		run := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); {
				p.reading(float32(1 + int(time.Since(began)/time.Minute)))
				<-time.After(time.Second)
			}
		}
		run(150 * time.Second)
		p.event()
		cut()
		stop, _ := p.keeper()
		run(150 * time.Second)
		<-time.After(20 * time.Second)
		var minutes []string
		for i, cp := range e.of("2051") {
			n := i + 1
			at := time.Unix(0, wall0).Add(time.Hour + time.Duration(i)*time.Minute).In(time.FixedZone("", 8*3600)).Format("20060102150400")
			minutes = append(minutes, at)
			if want := fmt.Sprintf("DataTime=%s;a01012-Min=%d.00,a01012-Avg=%d.00,a01012-Max=%d.00,a01012-Flag=N", at, n, n, n); cp != want {
				t.Errorf("%s, want %s", cp, want)
			}
		}
		if len(minutes) != 5 {
			t.Errorf("minutes %v", minutes)
		}
		if log := e.of("3020"); len(log) != 1 || !strings.Contains(log[0], "i21001-Info=//报警：x") {
			t.Errorf("log %q", log)
		}
		if n := len(e.of("2081")); n != 2 {
			t.Errorf("%d starts", n)
		}
		s := p.status()
		if len(s.Uplinks) != 1 || !s.Uplinks[0].Connected || s.Uplinks[0].Backlog != 0 {
			t.Errorf("status %+v", s.Uplinks)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		e.wait.Wait()
	})
}
