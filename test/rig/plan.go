package rig

import (
	"fmt"
	"strings"

	"davy/agent/config"
	"davy/agent/i18n"
	"davy/drivers"
	firmware "davy/firmware-configs"
)

// Plan compiles a plant of firmware-configs; the error has every problem with its place.
func Plan(name string, set drivers.Set) (*config.Plan, error) {
	site, problems := config.ReadSite(firmware.Plants(), name, firmware.Library)
	var plan *config.Plan
	if problems.OK() {
		var more config.Problems
		plan, more = config.Compile(site, set)
		problems = problems.Join(more)
	}
	if plan == nil {
		var w strings.Builder
		if err := problems.Write(&w, i18n.En, site); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("plant %s does not compile\n%s", name, w.String())
	}
	return plan, nil
}
