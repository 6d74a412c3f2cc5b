// Package config compiles a site directory to an immutable Plan, or to every
// problem in it with its file, line and column.
//
// The path: ReadSite gathers the files of a directory (and the templates, profiles, keys
// and certificates they name) into a Bundle; Compile turns a Bundle into a Plan without
// touching a file, a clock or a network. `davy apply` stores the Bundle;
// `davy run` compiles the stored one, so a start depends on nothing else. The
// same bundle gives the same plan on every machine; its hash is the SHA-256
// of Bundle.Encode.
//
// YAML is only the paper, and there are four layers that know nothing of each
// other's work:
//
//	sheet.go   characters: what YAML would misread is named and repaired, so
//	           that one slip hides no other (tabs, full-width punctuation, a
//	           hash within a text, anchors, tags, missing blanks, open quotes)
//	paper.go   the YAML library's nodes with their place and the text as it
//	           stands; its own errors in our words, the line left out, the
//	           rest still read
//	fields.go  sections against their form; typed readers of one value
//	the rest   one file per section, then the automatic parts, then requests
//
// What only one protocol has stands with its driver: own.go hands the fields of
// links and devices to it as they are written and puts its errors at their field.
// What a raw number and a device's word on its state mean is read here (values.go,
// state.go, quality.go) and carried out by the driver.
//
// A node about which something was said is lost: its readers say nothing of
// the consequences. A plan is made only where nothing but warnings was said.
//
// What the form means where it leaves a choice:
//
//   - any section may stand in site.yaml or rules.yaml; named things of one
//     section may be spread over both;
//
//   - a tag is stale after three scans, at least 3 s, or its device's stale_after;
//
//   - record is every 60s or any change; a change in % of a tag whose unit is
//     another one means % of its range;
//
//   - every tag that a rule looks at has an alarm <tag>.not-watched, after
//     three scans and at least not_watched.after (10 s);
//
//   - such an alarm stands under its link's link.<name>.silent: behind one dead
//     switch there is one line;
//
//   - a number of the rules may stand in any unit that converts to its tag's (ppm,
//     mg/m³ and %LEL by the tag's gas, at 20 °C and 101.325 kPa); a story's value may not;
//
//   - an alarm's profile proposes limits, texts, priorities, deadband and delays;
//     what the alarm writes goes before it, and approved decides: without it there is a
//     warning, and while the plan is live the alarm plan.not-approved. A proposed limit in another unit is rounded towards safety to two digits;
//
//   - a detector that warms up raises nothing, and after ready_within <tag>.not-ready;
//     one in test has its alarms suppressed by design, and after test_within
//     <tag>.in-test; one above its range is beyond every limit, and over_range: yes
//     lets a limit latch then. Without those times either is not being watched;
//
//   - a high limit makes no sound while its high-high is raised, a low one likewise;
//
//   - of an alarm's modes the first that holds counts; a limit that it does not
//     write stays as it is;
//
//   - every output has a tag <output>.state that reads its own register;
//
//   - everything is read-only but the addresses in may_write, the watchdog's too,
//     and on a link that is read_only everything is;
//
//   - may_write: [coil 0, {at: holding 10, type: int16, range: 0 to 100}], where the
//     range is of what is written;
//
//   - a template's fields and tags are the site's where it writes them itself: the
//     driver's fields, state, and each field of a tag of the same name;
//
//   - a device's state holds for its tags but those with `state: no` or one of
//     their own, and those that show the state word itself. A number or a set bit
//     that no entry names is `else`, which is fault;
//
//   - over-range as a state is good and at least that much; as a raw number (invalid)
//     it is bad, for there is no value;
//
//   - states make an enumeration: any other number is bad. Rules compare states and
//     texts by name, with = and != only;
//
//   - the content of a file that a link's field names is part of the plan; the word
//     after `secret` is the name of a secret, which is in no file;
//
//   - persons stand in a file of their own, which is part of the plan; their roles are a
//     closed list. A site whose persons cannot apply it is refused;
//
//   - time zones are checked by their form; shifts and the start of a story take the
//     zone's rules from this machine, or else from those that Davy was built with;
//
//   - stel, twa and mac of a computed tag make a family of tags (occupational.go);
//     a profile with limits of exposure proposes them to alarms on these, and to no
//     others. A value of a shift is recorded at half a percent of the detector's range;
//
//   - a story starts at 2026-01-01 00:00 UTC, or when it says, by the site's clock;
//
//   - a condition of a channel, an arming, a suppression or a mode may be an
//     expression: it becomes a computed tag "<rule>.<part>";
//
//   - permissives of an interlock must hold before a reset is accepted, and each that
//     does not while the interlock is armed is an alarm; none keeps a trip from
//     tripping. What must not even begin is an interlock of its own, with arm_when
//     saying that it has not begun;
//
//   - discrepancy of an interlock compares channels that measure in one unit, or else
//     their votes, but no manual one; it is an alarm and casts no vote;
//
//   - a state's word in a proof means what it means at the tag that is looked at;
//
//   - rate, deviation and frozen of an alarm are computed tags "<alarm>.<kind>";
//
//   - a computed tag is watched as any tag that a rule looks at, and its response
//     is that of its slowest input and how far it looks back.
//
// Who owns what: a Bundle belongs to its caller; a Plan is shared and nobody
// changes it. Nothing here is durable. It assumes that a driver's Plan keeps
// its promise and panics with BUG if it does not; whatever a bundle holds
// gives problems, never a panic.
//
// Imports: drivers, drivers/tag, rules, rules/ruletest, rules/shift, agent/i18n, agent/people.
package config
