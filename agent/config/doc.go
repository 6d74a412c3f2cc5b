// Package config compiles a site directory to an immutable Plan, or to every
// problem in it with its file, line and column.
//
// The path: ReadSite gathers the files of a directory (and the templates they
// name) into a Bundle; Compile turns a Bundle into a Plan without touching a
// file, a clock or a network. `davy apply` stores the Bundle; `davy run`
// compiles the stored one, so a start depends on nothing else.
//
// YAML is only the paper: the scanner's nodes are taken with their raw text
// and parsed by the field's type; see paper.go for what is refused.
//
// Imports: drivers, drivers/tag, rules, agent/i18n.
package config
