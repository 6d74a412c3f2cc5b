package people

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/argon2"
	"pgregory.net/rapid"
)

// A hash is what its text says, and its text is one.
func TestHashText(t *testing.T) {
	h := NewHash("correct horse")
	again, err := ParseHash(h.String())
	if err != nil || again.String() != h.String() || !again.Set() {
		t.Fatalf("%v: %v, %v", h, again, err)
	}
	if !again.fits("correct horse") || again.fits("correct hors") || again.fits("") {
		t.Error("the PIN and the hash do not fit")
	}
	if !strings.HasPrefix(h.String(), "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("the parameters are not those that were agreed on: %v", h)
	}
	if (Hash{}).String() != "" || (Hash{}).fits("") {
		t.Error("no hash is a hash")
	}
	if other := NewHash("correct horse"); bytes.Equal(other.key, h.key) {
		t.Error("two hashes of one PIN are the same: no salt")
	}
}

// Another program's hash fits, with its own parameters and lengths.
func TestHashOfAnother(t *testing.T) {
	raw := argon2.IDKey([]byte("731905"), []byte("0123456789abcdef"), 5, 7<<10, 1, 16)
	h, err := ParseHash("$argon2id$v=19$m=7168,t=5,p=1$" + salt + "$" + base64.RawStdEncoding.EncodeToString(raw))
	if err != nil || !h.fits("731905") || h.fits("731906") {
		t.Errorf("%v, %v", h, err)
	}
}

const salt, key = "MDEyMzQ1Njc4OWFiY2RlZg", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"

func TestHashRefused(t *testing.T) {
	f := func(in string, want error) {
		t.Helper()
		if _, err := ParseHash(in); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", in, err, want)
		}
	}
	f("$argon2id$v=19$m=19456,t=2,p=1$"+salt+"$"+key, nil)
	f("$argon2id$v=19$m=47104,t=1,p=1$"+salt+"$"+key, nil)
	for _, x := range []string{
		"", "731905", "$argon2id$", "$2b$12$abcdefghijklmnopqrstuv", "$argon2i$v=19$m=19456,t=2,p=1$" + salt + "$" + key,
		"$argon2id$v=16$m=19456,t=2,p=1$" + salt + "$" + key, "$argon2id$m=19456,t=2,p=1$" + salt + "$" + key,
		"$argon2id$v=19$t=2,m=19456,p=1$" + salt + "$" + key, "$argon2id$v=19$m=019456,t=2,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=+19456,t=2,p=1$" + salt + "$" + key, "$argon2id$v=19$m=,t=2,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=19456,t=2,p=1,x=1$" + salt + "$" + key, "$argon2id$v=19$m=19456,t=2,p=1$$" + key,
		"$argon2id$v=19$m=19456,t=2,p=1$" + salt + "==$" + key, "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + key + "$",
		"$argon2id$v=19$m=19456,t=2,p=1$" + salt[:21] + "h$" + key, "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "\n$" + key,
		" $argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + key, "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + strings.Repeat("A", 400),
	} {
		f(x, ErrForm)
	}
	// What would take 4 GiB, an hour, every processor, or be guessed in a minute.
	for _, x := range []string{
		"m=4194304,t=2,p=1", "m=4294967295,t=1,p=1", "m=4294967296,t=1,p=1", "m=99999999999999999999999,t=1,p=1", "m=19456,t=4294967295,p=1",
		"m=19456,t=2,p=255", "m=19456,t=2,p=0", "m=19456,t=0,p=1", "m=8,t=1,p=1", "m=7168,t=4,p=1", "m=19456,t=1,p=1", "m=47104,t=2,p=1", "m=65536,t=1,p=1", "m=0,t=2,p=1",
	} {
		f("$argon2id$v=19$"+x+"$"+salt+"$"+key, ErrCost)
	}
	f("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$"+key, ErrCost)
	f("$argon2id$v=19$m=19456,t=2,p=1$"+salt+"$a2V5", ErrCost)
}

func FuzzHash(f *testing.F) {
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + key)
	f.Add("$argon2id$v=19$m=4294967295,t=4294967295,p=255$" + salt + "$" + key)
	f.Add("$argon2id$v=19$m=7168,t=5,p=1$" + salt + "$" + salt)
	f.Add("$argon2id$$$$")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseHash(s)
		switch {
		case err == nil:
			if h.String() != s {
				t.Fatalf("%q reads as %q", s, h)
			}
			if h.memory > MaxMemory || uint64(h.memory)*uint64(h.passes) > MaxCost || len(h.salt) < minSalt || len(h.key) < minKey || !h.Set() {
				t.Fatalf("%q got through: %+v", s, h)
			}
		case h.Set() || !errors.Is(err, ErrForm) && !errors.Is(err, ErrCost):
			t.Fatalf("%q: %v, %v", s, h, err)
		}
		if m := Masked(s); len(m) != len(s) || err == nil && m != Prefix+strings.Repeat("*", len(s)-len(Prefix)) {
			t.Fatalf("%q is shown as %q", s, m)
		}
	})
}

func TestMasked(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := Masked(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	f("  name: 张伟", "  name: 张伟")
	f("  pin: $argon2id$v=19$m=1 # 张", "  pin: $argon2id$******** # 张")
	f(`{a: "$argon2id$v=19", b: '$argon2id$x'}`, `{a: "$argon2id$****", b: '$argon2id$*'}`)
	f("$argon2id$", "$argon2id$")
}

func TestCheckPIN(t *testing.T) {
	p := &Person{ID: "zhang7", Name: "Zhang Wei"}
	for pin, want := range map[string]error{
		"731905": nil, "Ofen-3-kalt": nil, "482917": nil, "19860412": nil, "aZ4!xq": nil,
		"": ErrShort, "73190": ErrShort, strings.Repeat("7a3", 22): ErrLong,
		"73190５": ErrASCII, "密码是七三一九": ErrASCII, "731 905": ErrASCII, "731905\n": ErrASCII,
		"111111": ErrPlain, "121212": ErrPlain, "112211": ErrPlain, "123456": ErrPlain, "654321": ErrPlain, "890123": ErrPlain, "210987": ErrPlain,
		"123123": ErrPlain, "12341234": ErrPlain, "112233": ErrPlain, "998877": ErrPlain, "abcdef": ErrPlain, "Password": ErrPlain, "147258": ErrPlain,
		"zhang7": ErrOwn, "ZHANG71": ErrOwn, "xxzhang7": ErrOwn,
	} {
		if err := CheckPIN(pin, p); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", pin, err, want)
		}
	}
	if err := CheckPIN("123456", &Person{ID: "1"}); !errors.Is(err, ErrPlain) {
		t.Errorf("an id of one letter: %v", err)
	}
}

func TestRoll(t *testing.T) {
	r := roll(t)
	for _, id := range []string{"", "li", "Li", "zz", "wang"} {
		p := r.Find(id)
		if (p != nil) != (id == "li" || id == "wang") || p != nil && p.ID != id {
			t.Errorf("%q: %+v", id, p)
		}
	}
	if n := r.Able([]Role{Operator, Engineer}); n != 1 || r.Able(nil) != 2 || r.Able([]Role{Contractor}) != 0 {
		t.Errorf("able: %d", n)
	}
	if !r.MayApply(r.Find("li")) {
		t.Error("nobody named: everybody may")
	}
	r.Apply = []Role{Manager}
	if r.MayApply(r.Find("li")) {
		t.Error("an engineer applies as a manager")
	}
	for id, want := range map[string]bool{"A-017": true, "7": true, "": false, "-a": false, "_a": false, "a b": false, "张": false, "a/b": false, strings.Repeat("a", 49): false} {
		if ID(id) != want {
			t.Errorf("%q: %v", id, !want)
		}
	}
	if len(Roles()) != 7 || !Known("ehs") || Known("EHS") || Known("") {
		t.Error("the roles are others")
	}
}

// roll has hashes that are cheap: what is tested is not argon2.
func roll(t *testing.T) *Roll {
	t.Helper()
	return &Roll{Persons: []Person{
		{ID: "chen", Roles: []Role{Operator}}, // no PIN
		{ID: "li", Roles: []Role{Engineer}, PIN: newHash("731905", 8, 1)},
		{ID: "wang", PIN: newHash("482917", 8, 1)},
	}}
}

func gate(began time.Time) *Gate {
	return NewGate(func() int64 { return time.Since(began).Nanoseconds() + 1 })
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, g := roll(t), gate(time.Now())
		f := func(origin, id, pin string, want error) {
			t.Helper()
			p, err := g.Prove(t.Context(), r, origin, id, pin)
			var wait *WaitError
			switch {
			case want == nil && (err != nil || p.ID != id), want != nil && p != nil:
				t.Errorf("%s: %+v, %v", id, p, err)
			case errors.As(want, &wait):
				var got *WaitError
				if !errors.As(err, &got) || got.For != wait.For {
					t.Errorf("%s: %v, want %v", id, err, want)
				}
			case !errors.Is(err, want):
				t.Errorf("%s: %v, want %v", id, err, want)
			}
		}
		f("u", "li", "731905", nil)
		f("u", "li", "482917", ErrWrong) // another's
		f("u", "li", "731905", &WaitError{time.Second})
		f("u", "wang", "482917", nil) // not held up by li's
		time.Sleep(500 * time.Millisecond)
		f("u", "li", "731905", &WaitError{500 * time.Millisecond}) // and it became no longer
		time.Sleep(500 * time.Millisecond)
		f("u", "li", "731905", nil)
		f("u", "li", "", ErrWrong)
		time.Sleep(time.Second)
		f("u", "li", strings.Repeat("7", 65), ErrWrong)
		f("u", "li", "x", &WaitError{2 * time.Second})
		f("u", "chen", "731905", ErrNoPIN)
		f("u", "zhao", "731905", ErrUnknown)
		f("u", "", "", ErrUnknown)
	})
}

// However often somebody guesses, the wait ends, and grows no longer than a minute.
func TestGateBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, g := roll(t), gate(time.Now())
		want := FirstWait
		for i := range 80 {
			if _, err := g.Prove(t.Context(), r, string(rune('a'+i)), "li", "000000"); !errors.Is(err, ErrWrong) {
				t.Fatalf("try %d: %v", i, err)
			}
			var wait *WaitError
			if _, err := g.Prove(t.Context(), r, "other", "li", "731905"); !errors.As(err, &wait) || wait.For != want {
				t.Fatalf("try %d: %v, want %v", i, err, want)
			}
			time.Sleep(want)
			want = min(2*want, LongestWait)
		}
		if len(g.origins) > MaxOrigins || len(g.persons) != 1 {
			t.Errorf("%d origins, %d persons", len(g.origins), len(g.persons))
		}
		if _, err := g.Prove(t.Context(), r, "a", "li", "731905"); err != nil {
			t.Error(err)
		}
		// Long ago counts no more.
		for range 3 {
			_, _ = g.Prove(t.Context(), r, "a", "li", "000000")
			time.Sleep(LongestWait)
		}
		time.Sleep(Forget)
		_, _ = g.Prove(t.Context(), r, "a", "li", "000000")
		var wait *WaitError
		if _, err := g.Prove(t.Context(), r, "a", "li", "731905"); !errors.As(err, &wait) || wait.For != FirstWait {
			t.Errorf("after %v: %v", Forget, err)
		}
	})
}

// Who tries one PIN on everybody waits too, whoever it is tried on.
func TestGateSpray(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, g := roll(t), gate(time.Now())
		for range FreeTries {
			if _, err := g.Prove(t.Context(), r, "u", "nobody", "482917"); !errors.Is(err, ErrUnknown) {
				t.Fatal(err)
			}
		}
		if _, err := g.Prove(t.Context(), r, "u", "li", "482917"); !errors.Is(err, ErrWrong) {
			t.Fatal(err)
		}
		var wait *WaitError
		if _, err := g.Prove(t.Context(), r, "u", "wang", "482917"); !errors.As(err, &wait) || wait.For != FirstWait {
			t.Errorf("%v", err)
		}
		if _, err := g.Prove(t.Context(), r, "v", "wang", "482917"); err != nil {
			t.Errorf("another user: %v", err)
		}
		// A proof makes up for what was mistyped before it.
		time.Sleep(FirstWait)
		if _, err := g.Prove(t.Context(), r, "u", "wang", "482917"); err != nil {
			t.Error(err)
		}
		for range FreeTries {
			if _, err := g.Prove(t.Context(), r, "u", "nobody", "482917"); !errors.Is(err, ErrUnknown) {
				t.Errorf("the tries before the proof count on: %v", err)
			}
		}
	})
}

// One at a time, few wait, and who leaves gives the place up.
func TestGateQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, g := roll(t), gate(time.Now())
		leave, err := g.enter(t.Context(), "u")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		results := make(chan error, MaxWaiting+1)
		try := func(origin string) {
			go func() {
				_, err := g.Prove(ctx, r, origin, "li", "731905")
				results <- err
			}()
		}
		for range MaxWaitingOf {
			try("u")
		}
		synctest.Wait()
		if _, err := g.Prove(t.Context(), r, "u", "li", "731905"); !errors.Is(err, ErrBusy) {
			t.Errorf("one too many of an origin: %v", err)
		}
		try("v") // is not shut out
		synctest.Wait()
		if _, err := g.Prove(t.Context(), r, "w", "li", "731905"); !errors.Is(err, ErrBusy) {
			t.Errorf("one too many: %v", err)
		}
		cancel()
		for range MaxWaiting {
			if err := <-results; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		if g.waiting != 0 || len(g.of) != 0 {
			t.Errorf("%d still wait, of %v", g.waiting, g.of)
		}
		time.Sleep(700 * time.Millisecond)
		leave() // a slow machine: the next one comes 700 ms later
		began := time.Now()
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := g.Prove(short, r, "u", "li", "731905"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if _, err := g.Prove(t.Context(), r, "u", "li", "731905"); err != nil || time.Since(began) != 700*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// Parallel guesses are no more guesses than one after another.
func TestGateParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, g := roll(t), gate(time.Now())
		results := make(chan error, MaxWaiting)
		for range MaxWaiting {
			go func() {
				_, err := g.Prove(t.Context(), r, "u", "li", "000000")
				results <- err
			}()
		}
		wrong := 0
		for range MaxWaiting {
			if errors.Is(<-results, ErrWrong) {
				wrong++
			}
		}
		if wrong != 1 {
			t.Errorf("%d guesses were looked at", wrong)
		}
	})
}

// The tables never grow beyond their bounds, and a wait never beyond its own.
func TestTriesBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all, now := map[string]tries{}, int64(1)
		for range rapid.IntRange(1, 200).Draw(t, "tries") {
			now += rapid.Int64Range(0, int64(20*time.Minute)).Draw(t, "pause")
			who := rapid.StringMatching(`[a-z]`).Draw(t, "who")
			count(all, who, 2, 8, now)
			if len(all) > 8 || all[who].n < 1 || all[who].until > now+int64(LongestWait) {
				t.Fatalf("%v", all)
			}
		}
	})
}

func TestOriginsForgetTheFreest(t *testing.T) {
	all := map[string]tries{}
	for i := range 3 {
		for range 3 - i {
			count(all, string(rune('a'+i)), 0, 3, 1)
		}
	}
	count(all, "d", 0, 3, 2)
	if _, have := all["c"]; have || len(all) != 3 {
		t.Errorf("%v", all)
	}
	if all["d"].n != 1 {
		t.Errorf("%v", all)
	}
}

func BenchmarkProof(b *testing.B) {
	h := NewHash("731905")
	for b.Loop() {
		h.fits("731905")
	}
}
