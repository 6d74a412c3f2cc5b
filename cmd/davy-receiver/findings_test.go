package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"davy/agent/cli"
	"davy/agent/i18n"
	"davy/agent/wire"
	"davy/cmd/davy-receiver/store"
)

// Whatever is found is said in both languages, with what it is about.
func TestFindingsInWords(t *testing.T) {
	a, b := strings.Repeat("a1", 16), strings.Repeat("b2", 16)
	f := func(x store.Finding, zh, en string) {
		t.Helper()
		x.EpochName, x.OtherName = a, b
		for l, want := range map[i18n.Lang]string{i18n.Zh: zh, i18n.En: en} {
			if got := found(l, &x); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if short := foundShort(l, []string{x.Kind}); strings.Contains(short, "⟨") || short == "" {
				t.Errorf("%s: %q", x.Kind, short)
			}
		}
	}
	f(store.Finding{Kind: store.LogFork, First: 7, Last: 9}, "日志树分叉：有 9 个叶子的树并非由已见证的 7 个叶子延续而来", "fork of the log: what has 9 leaves does not go on from the 7 that were witnessed")
	f(store.Finding{Kind: store.LogShort, First: 7, Last: 9}, "缺失或回退：b2b2b2b2 的日志树已见证 9 个叶子，如今只声明 7 个", "loss or rollback: the log of b2b2b2b2 had 9 leaves witnessed and is declared to have 7")
	f(store.Finding{Kind: store.LogShort, Last: 9}, "缺失或回退：b2b2b2b2 的日志树已见证 9 个叶子，其后的记录期对此只字未提", "loss or rollback: the log of b2b2b2b2 had 9 leaves witnessed, and the epoch after it says nothing of it")
	f(store.Finding{Kind: store.Rollback}, "回退：它不知道 b2b2b2b2 中已收到的内容；磁盘映像被还原，或是副本，或磁盘未保住已确认写入的内容", "rolled back: it does not know b2b2b2b2 as that was received; an older image of the disk, a copy, or a disk that did not keep what it confirmed")
	f(store.Finding{Kind: store.Clone}, "两台设备共用一把密钥：b2b2b2b2 取代本记录期之后，本记录期仍在续写", "two boxes with one key: this epoch lives on after b2b2b2b2 took its place")
	f(store.Finding{Kind: store.Boots, Note: "x y"}, "两台设备共用一把密钥：两次开机的报文交替到达（x y），除非是 MQTT 服务器压住了报文", "two boxes with one key: messages of two boots come in turns (x y), unless the broker kept some back")
	f(store.Finding{Kind: store.Clock, First: int64(time.Hour)}, "时钟不实：自称可信，却比本接收端快 1 小时", "lying clock: said to be trusted, and 1 h ahead of this receiver's")
	f(store.Finding{Kind: store.Clock, First: -int64(time.Minute)}, "时钟不实：自称可信，却比本接收端慢 1 分钟", "lying clock: said to be trusted, and 1 min behind this receiver's")
	f(store.Finding{Kind: store.Withheld, Stream: "reading", First: 3, Last: 5}, "未送达：缺 reading 3..5，而网关通信正常并自称已记录至此", "withheld: reading 3..5 missing, though the gateway is heard and says that it has recorded so far")
	f(store.Finding{Kind: store.Hole, Stream: "event", First: 3, Last: 3}, "缺口：缺 event 3，其后的记录却已到", "hole: event 3 missing, though what follows has come")
	f(store.Finding{Kind: store.Restored, Note: a}, "本接收端的数据库经过恢复，原编号 a1a1a1a1", "this receiver's database was restored; before it was a1a1a1a1")
	x := store.Finding{Kind: store.Silent, First: 1}
	f(x, "静默：自 "+when(1)+" 起没有报文", "silent: nothing came since "+when(1))
}

// What stands comes with what to do about it, in both languages, once; what is
// over does not.
func TestFindingsSayWhatToDo(t *testing.T) {
	for _, kind := range store.Kinds() {
		for _, l := range []i18n.Lang{i18n.Zh, i18n.En} {
			lines := func(all ...store.Finding) int {
				var out strings.Builder
				sayFindings(&cli.Call{Lang: l, Out: &out}, all)
				if strings.Contains(out.String(), "⟨") {
					t.Errorf("words are missing: %s", out.String())
				}
				return strings.Count(out.String(), "\n") - len(all) - 1
			}
			f := store.Finding{Gateway: "GW-1", Kind: kind, Wall: 1}
			want := 1
			if kind == store.Restored { // a person did it
				want = 0
			}
			if n := lines(f, f); n != want {
				t.Errorf("%s: %d lines on what to do, want %d", kind, n, want)
			}
			f.Ended = 2
			if n := lines(f); n != 0 {
				t.Errorf("%s is over: %d lines on what to do", kind, n)
			}
		}
	}
}

// What verify says has words, whatever it found.
func TestLogsInWords(t *testing.T) {
	logs := []store.Log{}
	for _, state := range []string{store.Whole, store.LeavesGone, store.Differs, store.BadNote, store.NotWitnessed} {
		logs = append(logs, store.Log{Gateway: "GW-1", Epoch: strings.Repeat("a1", 16), State: state, Leaves: 9, Witnessed: 8, Wall: 1, Gone: 3})
	}
	logs[1].Which = []store.Numbers{{From: 2, To: 4}}
	logs[1].Rows = make([]store.Altered, store.MaxNamed)
	for i := range logs[1].Rows {
		logs[1].Rows[i] = store.Altered{Stream: "event", Numbers: store.Numbers{From: 5, To: 6}, What: []string{"row", "signed"}[i%2]}
	}
	for l, want := range map[i18n.Lang][]string{
		i18n.Zh: {"见证范围内完整", "缺 3 个叶子", "不一致：库中内容", "不一致：库中的检查点", "未见证", "GW-1 a1a1a1a1：缺叶子 2..4", "库中被改动：event 5..6", "event 5..6 没有相应的签名原文", "还有更多"},
		i18n.En: {"whole as far as witnessed", "3 leaves are not here", "DIFFERS: what is stored", "DIFFERS: the stored checkpoint", "not witnessed", "GW-1 a1a1a1a1: leaves 2..4", "ALTERED here: event 5..6", "no signed bytes say event 5..6", "and more"},
	} {
		var out strings.Builder
		sayLogs(&cli.Call{Lang: l, Out: &out}, logs)
		for _, w := range want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("%q is not in %s", w, out.String())
			}
		}
		if strings.Contains(out.String(), "⟨") {
			t.Errorf("words are missing: %s", out.String())
		}
	}
}

// A finding is shown, counted by --check until it is over, and named beside its gateway.
func TestFindingsShown(t *testing.T) {
	t.Setenv("LC_ALL", "C")
	dir := filepath.Join(t.TempDir(), "db")
	if code, _, errs := call(t, "enroll", "GW-1", strings.Repeat("A", 52), "--db", dir); code != 0 {
		t.Fatal(errs)
	}
	st, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	enter := func(f *store.Finding) {
		t.Helper()
		b, err := st.Begin(t.Context(), 1.7e18)
		if err == nil {
			err = b.Find(f)
		}
		if err == nil {
			err = b.Commit()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	enter(&store.Finding{Gateway: "GW-1", Kind: store.Hole, Epoch: wire.Epoch{7}, Stream: "reading", First: 8, Last: 11})
	for lang, want := range map[string][3]string{"zh": {"缺口：缺 reading 8..11，", "davy-receiver restored", "缺口"}, "en": {"hole: reading 8..11", "davy-receiver restored", "hole"}} {
		code, out, _ := call(t, "gaps", "--check", "--db", dir, "--lang", lang)
		if code != 1 || !strings.Contains(out, want[0]) || !strings.Contains(out, want[1]) || !strings.Contains(out, "07000000") {
			t.Errorf("exit %d: %s", code, out)
		}
		if _, out, _ := call(t, "gateways", "--db", dir, "--lang", lang); !strings.HasSuffix(strings.TrimSpace(out), " "+want[2]) {
			t.Errorf("%s", out)
		}
	}
	_, out, _ := call(t, "gaps", "GW-1", "--json", "--db", dir)
	var got struct{ Findings []map[string]any }
	if err := json.Unmarshal([]byte(out), &got); err != nil || len(got.Findings) != 1 || got.Findings[0]["kind"] != "hole" || got.Findings[0]["ended"] != 0.0 ||
		got.Findings[0]["epoch"] != "07"+strings.Repeat("0", 30) {
		t.Errorf("%v: %s", err, out)
	}
	_, out, _ = call(t, "gateways", "--json", "--db", dir)
	if !strings.Contains(out, `"hole"`) {
		t.Errorf("%s", out)
	}
}
