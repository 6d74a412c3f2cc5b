// Package rules says in one sentence what it is.
package rules

import _ "davy/drivers/tag"

func init() { panic("no BUG here") }

// Step panics in all the ways there are.
func Step(n int) {
	switch n {
	case 0:
		panic("BUG: rules: zero")
	case 1:
		panic(what("BUG: rules: one"))
	case 2:
		panic("BUG: rules: " + "two")
	case 3:
		panic(what("rules: three"))
	}
}

// again passes on what it got.
func again(cause any, err error) {
	defer func() {
		if p := recover(); p != nil {
			panic(p)
		}
	}()
	panic(cause)
}

func gives(cause any, err error) {
	if cause != nil {
		panic(cause)
	}
	panic(err)
}

func what(s string) string { return s }

type engine struct{}

func (engine) init() {} // a method may have that name
