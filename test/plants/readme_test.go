package plants

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"testing/fstest"

	"davy/agent/config"
	"davy/drivers"
	"davy/drivers/modbus"
	firmware "davy/firmware-configs"
)

// What the READMEs show as a first site compiles, in both languages.
func TestFirstSiteOfTheReadme(t *testing.T) {
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	for _, name := range []string{"README.md", "README.zh-CN.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		blocks := block.FindAllSubmatch(text, -1)
		if len(blocks) != 2 {
			t.Fatalf("%s shows %d files, site.yaml and rules.yaml were meant", name, len(blocks))
		}
		site := fstest.MapFS{"site.yaml": {Data: blocks[0][1]}, "rules.yaml": {Data: blocks[1][1]}}
		bundle, problems := config.ReadSite(site, ".", firmware.Devices)
		plan, more := config.Compile(bundle, drivers.Set{"modbus-tcp": modbus.TCP{}})
		if problems = problems.Join(more); plan == nil || len(problems) > 0 {
			t.Errorf("%s: %+v", name, problems)
		}
	}
}
