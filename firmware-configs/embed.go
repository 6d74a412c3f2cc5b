// Package firmware carries the data of firmware-configs in the binary: device
// templates, alarm profiles, and whole plants ready to adapt.
//
// It promises nothing of the data itself: agent/config reads and judges it
// like any file, and a site's own file of the same name goes first. Nothing
// here is durable or changes.
//
// Imports: nothing of ours; imported by cmd only.
package firmware

import (
	"embed"
	"io/fs"
	"strings"
)

//go:embed devices profiles
var files embed.FS

//go:embed plants
var plants embed.FS

// Devices holds the device templates, one file per model: davy/bench-nh3.yaml
// is the template "davy/bench-nh3".
var Devices = sub(files, "devices")

// Library is what a site may borrow from (agent/config.ReadSite): the device
// templates, and the alarm profiles in profiles, one file per scheme:
// profiles/gb50493.yaml.
var Library fs.FS = library{}

type library struct{}

// Open implements fs.FS.
func (library) Open(name string) (fs.File, error) {
	if name == "profiles" || strings.HasPrefix(name, "profiles/") {
		return files.Open(name)
	}
	return Devices.Open(name)
}

// Plants returns whole plants, one directory each: bench/site.yaml. It is a
// function so that a program which does not call it does not carry them.
func Plants() fs.FS { return sub(plants, "plants") }

func sub(of fs.FS, dir string) fs.FS {
	f, err := fs.Sub(of, dir)
	if err != nil {
		panic("BUG: firmware: " + err.Error())
	}
	return f
}
