package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"
)

// Limits of a site directory. At each of them the file is not taken and a
// problem says so; a bundle from elsewhere that passes one is refused.
const (
	MaxFile   = 1 << 20 // bytes of one file
	MaxBundle = 8 << 20 // bytes of all files together
	MaxFiles  = 256     // files of a bundle
	MaxName   = 200     // bytes of a file's name
)

// The names of a site's files.
const (
	SiteFile      = "site.yaml"
	RulesFile     = "rules.yaml"
	PeopleFile    = "people.yaml" // where site.yaml names no other
	templateDir   = "templates"
	templateExt   = ".yaml"
	bundleHeading = "davy bundle 1\n"
)

// File is one file of a site. Name is relative, with slashes.
type File struct {
	Name string
	Data []byte
}

// Bundle is a site as bytes: site.yaml, rules.yaml, the device templates it
// uses as templates/<vendor>/<model>.yaml, its profiles as
// profiles/<scheme>.yaml, its persons and its key files. Files are sorted
// by name. It is what `davy apply` stores and what a start compiles.
type Bundle struct {
	Files []File
}

// File returns the bytes of a file; ok is false where the bundle has none.
func (b *Bundle) File(name string) (data []byte, ok bool) {
	if b == nil {
		return nil, false
	}
	i := sort.Search(len(b.Files), func(i int) bool { return b.Files[i].Name >= name })
	if i == len(b.Files) || b.Files[i].Name != name {
		return nil, false
	}
	return b.Files[i].Data, true
}

// Put adds or replaces a file.
func (b *Bundle) Put(name string, data []byte) {
	i := sort.Search(len(b.Files), func(i int) bool { return b.Files[i].Name >= name })
	if i < len(b.Files) && b.Files[i].Name == name {
		b.Files[i].Data = data
		return
	}
	b.Files = slices.Insert(b.Files, i, File{name, data})
}

// Hash is the SHA-256 of Encode.
func (b *Bundle) Hash() [32]byte { return sha256.Sum256(b.Encode()) }

// Encode writes the bundle as bytes: a heading, then each file in order of
// its name as length and name, length and data (unsigned varints). The same
// files give the same bytes.
func (b *Bundle) Encode() []byte {
	out := []byte(bundleHeading)
	for _, f := range b.Files {
		out = binary.AppendUvarint(out, uint64(len(f.Name)))
		out = append(out, f.Name...)
		out = binary.AppendUvarint(out, uint64(len(f.Data)))
		out = append(out, f.Data...)
	}
	return out
}

// ErrBundle says that bytes are not a bundle.
var ErrBundle = errors.New("not a bundle")

// DecodeBundle reads what Encode wrote. Bytes that Encode would not have
// written (an order, a name or a size that is not allowed) are refused.
func DecodeBundle(data []byte) (*Bundle, error) {
	rest, ok := bytes.CutPrefix(data, []byte(bundleHeading))
	if !ok {
		return nil, fmt.Errorf("decode bundle: %w: heading", ErrBundle)
	}
	if len(data) > MaxBundle+MaxFiles*(MaxName+16) {
		return nil, fmt.Errorf("decode bundle: %w: %d bytes", ErrBundle, len(data))
	}
	next := func(limit uint64) ([]byte, bool) {
		n, w := binary.Uvarint(rest)
		if w <= 0 || n > limit || n > uint64(len(rest)-w) {
			return nil, false
		}
		part := rest[w : w+int(n)]
		rest = rest[w+int(n):]
		return part, true
	}
	b := &Bundle{}
	for len(rest) > 0 {
		name, ok := next(MaxName)
		if !ok {
			return nil, fmt.Errorf("decode bundle: %w: name of file %d", ErrBundle, len(b.Files)+1)
		}
		body, ok := next(MaxFile)
		if !ok {
			return nil, fmt.Errorf("decode bundle: %w: file %q", ErrBundle, name)
		}
		n := len(b.Files)
		if !goodName(string(name)) || n > 0 && b.Files[n-1].Name >= string(name) || n == MaxFiles {
			return nil, fmt.Errorf("decode bundle: %w: file %q is out of place", ErrBundle, name)
		}
		b.Files = append(b.Files, File{string(name), bytes.Clone(body)})
	}
	if again := b.Encode(); !bytes.Equal(again, data) {
		return nil, fmt.Errorf("decode bundle: %w: not in canonical form", ErrBundle)
	}
	return b, nil
}

func goodName(name string) bool {
	return fs.ValidPath(name) && name != "." && len(name) <= MaxName && utf8.ValidString(name) &&
		!strings.ContainsAny(name, "\\\x00\n\r")
}

// ReadSite gathers the files of a site from the directory root of fsys
// ("." for fsys itself): site.yaml, rules.yaml where there is one, the file of
// the persons, the key files it names, the files that fields of its links name,
// and the templates and profiles it names, from the site's own directories
// templates and profiles or else from library (templates as vendor/model.yaml,
// profiles as profiles/scheme.yaml). The bundle holds what could be read, so
// that Compile finds the rest of the problems too; it is nil only without a
// site.yaml.
func ReadSite(fsys fs.FS, root string, library fs.FS) (*Bundle, Problems) {
	g := &gatherer{fsys: fsys, root: path.Clean(root), b: &Bundle{}}
	if !g.take(SiteFile, true) {
		g.problems.tidy()
		return nil, g.problems
	}
	g.take(RulesFile, false)
	c := newCompiler(g.b, nil)
	c.quiet = true
	persons := c.peopleFile()
	if persons != "" {
		g.take(persons, false)
	}
	g.strays(persons)
	for _, name := range c.templateNames() {
		g.borrow(library, templatePath(name), name+templateExt)
	}
	for _, name := range c.profileFiles() {
		g.borrow(library, profilePath(name), profilePath(name))
	}
	for _, name := range c.keyFiles() {
		if goodName(name) {
			g.take(name, false)
		}
	}
	for _, name := range c.linkFiles() {
		if info, err := fs.Stat(fsys, path.Join(g.root, name)); err == nil && info.Mode().IsRegular() {
			g.take(name, false)
		}
	}
	g.problems.tidy()
	return g.b, g.problems
}

// borrow takes a file of the site, or else of the library. What neither has
// Compile says, with its place.
func (g *gatherer) borrow(library fs.FS, own, name string) {
	if g.take(own, false) || library == nil {
		return
	}
	if info, err := fs.Stat(library, name); err != nil || info.IsDir() {
		return
	}
	if data, ok := g.read(library, name, own); ok {
		g.add(own, data)
	}
}

func templatePath(name string) string { return path.Join(templateDir, name+templateExt) }

// A gatherer reads the files of one site.
type gatherer struct {
	fsys     fs.FS
	root     string
	b        *Bundle
	size     int
	problems Problems
}

func (g *gatherer) bad(name, code, hint string, args ...any) {
	g.problems = append(g.problems, Problem{Place: Place{File: name}, Width: 1, Code: code, Hint: hint, Args: makeArgs(args)})
}

// take reads a file of the site into the bundle and reports whether it did.
func (g *gatherer) take(name string, must bool) bool {
	if _, have := g.b.File(name); have {
		return true
	}
	if out, ok := g.leaves(name); ok {
		g.bad(name, "file-outside", "file-outside", "target", out)
		return false
	}
	full := path.Join(g.root, name)
	if _, err := fs.Stat(g.fsys, full); errors.Is(err, fs.ErrNotExist) {
		if must {
			g.bad(name, "file-missing", "file-missing")
		}
		return false
	}
	data, ok := g.read(g.fsys, full, name)
	if ok {
		g.add(name, data)
	}
	return ok
}

func (g *gatherer) read(fsys fs.FS, full, name string) ([]byte, bool) {
	info, err := fs.Stat(fsys, full) // before opening: opening a pipe waits for its writer
	if err == nil && !info.Mode().IsRegular() {
		g.bad(name, "file-not-regular", "")
		return nil, false
	}
	f, err := fsys.Open(full)
	if err != nil {
		g.bad(name, "file-unreadable", "file-unreadable", "cause", cause(err))
		return nil, false
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		g.bad(name, "file-unreadable", "file-unreadable", "cause", cause(err))
		return nil, false
	}
	if len(data) > MaxFile {
		g.bad(name, "file-too-big", "", "limit", MaxFile)
		return nil, false
	}
	return data, true
}

func (g *gatherer) add(name string, data []byte) {
	if g.size += len(data); g.size > MaxBundle || len(g.b.Files) == MaxFiles || len(name) > MaxName {
		g.bad(name, "site-too-big", "", "limit", MaxBundle, "files", MaxFiles)
		return
	}
	g.b.Put(name, data)
}

// leaves reports where a symbolic link on the way to name leads, if that is
// out of the site. Links within the site are followed by the file system.
func (g *gatherer) leaves(name string) (string, bool) {
	parts := strings.Split(name, "/")
	for i, hops := 1, 0; i <= len(parts) && hops < 16; i++ {
		here := path.Join(parts[:i]...)
		info, err := fs.Lstat(g.fsys, path.Join(g.root, here))
		if err != nil || info.Mode()&fs.ModeSymlink == 0 {
			continue
		}
		target, err := fs.ReadLink(g.fsys, path.Join(g.root, here))
		if err != nil {
			return "?", true
		}
		to := path.Join(path.Dir(here), target)
		if path.IsAbs(target) || to == ".." || strings.HasPrefix(to, "../") {
			return target, true
		}
		parts = append(strings.Split(to, "/"), parts[i:]...)
		i, hops = 0, hops+1
	}
	return "", false
}

// strays warns of YAML files that look as if they were meant and are not read;
// that of the persons is.
func (g *gatherer) strays(persons string) {
	list, err := fs.ReadDir(g.fsys, g.root)
	if err != nil {
		return
	}
	for _, e := range list {
		name := e.Name()
		ext := strings.ToLower(path.Ext(name))
		if e.IsDir() || ext != ".yaml" && ext != ".yml" || name == SiteFile || name == RulesFile || name == persons || !utf8.ValidString(name) {
			continue
		}
		p := Problem{Place: Place{File: name}, Width: 1, Code: "file-not-read", Hint: "file-not-read", Args: makeArgs([]any{"name", name}), Warn: true}
		if name == PeopleFile && persons == "" {
			p.Hint = "people-not-named"
		}
		g.problems = append(g.problems, p)
	}
}

// cause is the innermost words of an error of the operating system.
func cause(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}
