package record

import (
	"testing"

	"davy/agent/config"
	"davy/agent/people"
)

// Names of persons leave the plant only where an authority asked for them.
func TestNamesOnlyWhereAskedFor(t *testing.T) {
	for _, asked := range []bool{false, true} {
		p := &config.Plan{}
		p.People.Persons = []people.Person{{ID: "li-1", Name: "李伟"}, {ID: "wang", Name: "Wang"}}
		p.People.NamesToRegulator = asked
		table := (&Recorder{o: Options{Plan: p}}).table()
		if got := table.PersonName("li-1"); (got == "李伟") != asked || (len(table.People) == 2) != asked {
			t.Errorf("asked %v: %v", asked, table.People)
		}
	}
}
