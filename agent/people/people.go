// Package people is who may do what: persons with their roles and PINs, and
// the gate at which a person is proved.
//
// A person is *claimed* (the operating system's user, which says who is logged
// in and no more) or *proved* (the person's id and PIN). A site's persons stand
// in its people.yaml, which agent/config reads into a Roll; of a PIN there is
// only an argon2id hash, which holds a guesser back and does not stop one: six
// digits are some hours of one computer. Whoever can read the file can guess
// at leisure, so it is not for everybody's eyes.
//
// What a proof says: somebody knew that person's PIN at that moment, at this
// gateway. Not that it was the person, nor that two persons who were both proved
// stood there both. Whoever can write the state directory needs no proof.
//
// The Gate promises: one hash is computed at a time, with at most MaxWaiting
// who wait for it and MaxWaitingOf of one origin, and as long a pause after each as it took, so that guessing
// takes at most half of one processor; after a wrong PIN the person's next try
// waits FirstWait, twice that after the next, at most LongestWait, and so does
// the origin of the tries (Origin) after FreeTries. A try that comes too early
// is refused without a look at the PIN, and does not make the wait longer.
// Nothing of this is durable: a restart forgets the tries.
//
// Who owns what: a Roll is shared and nobody changes it; the Gate owns its
// tries. No PIN is in an error, and no error tells more of one than that it is
// wrong.
//
// Imports: nothing of ours.
package people

import (
	"slices"
	"strings"
	"time"
)

// Limits, each with what happens at it.
const (
	MaxPersons   = 500              // of a site; config refuses more
	MaxID        = 48               // bytes of an id; a longer one is none
	MaxNameText  = 60               // characters of a name; config refuses a longer one
	MinPIN       = 6                // characters of a PIN; a shorter one is refused when it is set
	MaxPIN       = 64               // … a longer one is refused when it is set, and is wrong when it is tried
	MaxWaiting   = 4                // who wait for the gate; more are told ErrBusy
	MaxWaitingOf = MaxWaiting - 1   // … of one origin: whoever fills the line does not shut it to others
	FreeTries    = 5                // wrong tries from one origin before it waits
	FirstWait    = time.Second      // after a person's first wrong PIN
	LongestWait  = time.Minute      // after any further one: who wants to lock a person out has to keep at it
	Forget       = 15 * time.Minute // after which wrong tries count no more
	MaxOrigins   = 64               // origins remembered; beyond, the one that is free first is forgotten
	LongestRest  = 2 * time.Second  // the longest pause after a hash
)

// Role is what a person is in the plant.
type Role string

// The roles. The list is closed: a permit for a role that nobody can have,
// because it is spelt in another way, would be found on the night it is needed.
const (
	Operator    Role = "operator"
	ShiftLeader Role = "shift-leader"
	Technician  Role = "technician"
	Engineer    Role = "engineer"
	EHS         Role = "ehs"
	Manager     Role = "manager"
	Contractor  Role = "contractor"
)

// Roles are all of them, in the order in which they are shown. Their words are
// under "role.<role>".
func Roles() []Role {
	return []Role{Operator, ShiftLeader, Technician, Engineer, EHS, Manager, Contractor}
}

// Known reports whether a text is a role.
func Known(role string) bool { return slices.Contains(Roles(), Role(role)) }

// Person is one person of a site.
type Person struct {
	ID    string // what is recorded and goes to the regulator
	Name  string // for people, any script
	Roles []Role // in the order of Roles; there may be none
	PIN   Hash   // zero: none was set, and nobody can be proved to be this person
}

// Has reports whether the person has any of the roles; of no roles every
// person has one.
func (p *Person) Has(roles []Role) bool {
	return len(roles) == 0 || slices.ContainsFunc(p.Roles, func(r Role) bool { return slices.Contains(roles, r) })
}

// RoleNames are the person's roles as texts.
func (p *Person) RoleNames() []string {
	var out []string
	for _, r := range p.Roles {
		out = append(out, string(r))
	}
	return out
}

// Roll is the persons of a site.
type Roll struct {
	Persons []Person // sorted by ID
	Apply   []Role   // who may make a plan live; empty: every proved person
}

// Empty reports whether the site names nobody: then everybody is claimed.
func (r *Roll) Empty() bool { return len(r.Persons) == 0 }

// Find returns a person by id, nil where there is none.
func (r *Roll) Find(id string) *Person {
	i, ok := slices.BinarySearchFunc(r.Persons, id, func(p Person, id string) int { return strings.Compare(p.ID, id) })
	if !ok {
		return nil
	}
	return &r.Persons[i]
}

// MayApply reports whether p, once proved, may make a plan live.
func (r *Roll) MayApply(p *Person) bool { return p.Has(r.Apply) }

// Able returns how many persons with any of the roles can be proved.
func (r *Roll) Able(roles []Role) (n int) {
	for i := range r.Persons {
		if r.Persons[i].PIN.Set() && r.Persons[i].Has(roles) {
			n++
		}
	}
	return n
}

// ID reports whether a text can be a person's id: letters, digits, - and _, the
// first a letter or a digit, at most MaxID.
func ID(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && (i == 0 || r != '-' && r != '_') {
			return false
		}
	}
	return s != "" && len(s) <= MaxID
}
