package plants

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"testing/fstest"

	"davy/agent/config"
	"davy/drivers"
	"davy/drivers/modbus"
	"davy/drivers/opcua"
	firmware "davy/firmware-configs"
)

// What the READMEs show compiles, in both languages: the first site, and that
// with the serial line and with the OPC UA server.
func TestSitesOfTheReadme(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(nil, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	set := drivers.Set{"modbus-tcp": modbus.TCP{}, "modbus-rtu": modbus.RTU{}, "opcua": opcua.Driver{}}
	for _, name := range []string{"README.md", "README.zh-CN.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		blocks := block.FindAllSubmatch(text, -1)
		if len(blocks) != 6 {
			t.Fatalf("%s shows %d files, site.yaml, rules.yaml, more rules, destinations, a line and a server were meant", name, len(blocks))
		}
		moreRules(t, name, blocks[2][1], set)
		// A further link and its devices may stand in either file, and so may uplinks.
		for i, more := range [][]byte{nil, blocks[3][1], blocks[4][1], blocks[5][1]} {
			site := fstest.MapFS{
				"site.yaml": {Data: blocks[0][1]}, "rules.yaml": {Data: slices.Concat(blocks[1][1], more)},
				"dcs.der": {Data: der}, "province.pub": {Data: []byte("ed25519:" + base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey)) + "\n")},
			}
			bundle, problems := config.ReadSite(site, ".", firmware.Library)
			plan, rest := config.Compile(bundle, set)
			if problems = problems.Join(rest); plan == nil || len(problems) > 0 {
				t.Errorf("%s: %s%+v", name, more, problems)
			} else if want := [...][2]int{{1, 0}, {1, 4}, {2, 0}, {2, 0}}[i]; len(plan.Links) != want[0] || len(plan.Uplinks) != want[1] {
				t.Errorf("%s: %s%d links, %d uplinks", name, more, len(plan.Links), len(plan.Uplinks))
			}
		}
	}
}

// moreRules compiles the rules of the second example with the bench plant's site,
// which has what they speak of. It names no persons, and its detectors share a link.
func moreRules(t *testing.T, name string, text []byte, set drivers.Set) {
	t.Helper()
	bench := os.DirFS(filepath.Join("..", "..", "firmware-configs", "plants", "bench"))
	site := fstest.MapFS{"rules.yaml": {Data: text}}
	for _, file := range []string{"site.yaml", "receiver.pub"} {
		data, err := fs.ReadFile(bench, file)
		if err != nil {
			t.Fatal(err)
		}
		site[file] = &fstest.MapFile{Data: data}
	}
	bundle, problems := config.ReadSite(site, ".", firmware.Library)
	plan, rest := config.Compile(bundle, set)
	var said []string
	for _, p := range problems.Join(rest) {
		said = append(said, p.Code)
	}
	if plan == nil || !slices.Equal(said, []string{"vote-one-link", "permit-without-people"}) {
		t.Errorf("%s: %v", name, said)
	}
}
