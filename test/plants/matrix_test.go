package plants

import (
	"io/fs"
	"reflect"
	"testing"

	"davy/agent/config"
	"davy/agent/i18n"
	"davy/agent/matrix"
	firmware "davy/firmware-configs"
)

// The matrix of every plant, read back from its table, gives the same rules.
func TestMatrixBackAgain(t *testing.T) {
	list, err := fs.ReadDir(firmware.Plants(), ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if !e.IsDir() {
			continue
		}
		t.Run(e.Name(), func(t *testing.T) {
			site, problems := config.ReadSite(firmware.Plants(), e.Name(), firmware.Library)
			written := config.ReadWritten(site, "interlocks")
			plan, more := config.CompileWith(site, set, written)
			if plan == nil || len(written) == 0 {
				t.Fatalf("%d interlocks, problems %v", len(written), problems.Join(more))
			}
			read, problems := matrix.Read("m.csv", matrix.New(site, plan).CSV(i18n.Zh, matrix.Sheet{}), plan)
			again, more := config.CompileWith(site, set, read)
			if again == nil || len(problems) > 0 {
				t.Fatal(problems.Join(more))
			}
			if !reflect.DeepEqual(plan.Rules.Interlocks, again.Rules.Interlocks) {
				t.Errorf("not the same rules:\n%+v\n%+v", plan.Rules.Interlocks, again.Rules.Interlocks)
			}
			if d := matrix.Compare(matrix.New(site, plan), matrix.With(site, again, read), i18n.En); len(d) > 0 {
				t.Errorf("equal rules differ: %v", d)
			}
		})
	}
}
