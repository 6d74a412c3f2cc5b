package main

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"davy/agent/cli"
	"davy/agent/config"
	"davy/agent/i18n"
	"davy/rules/ruletest"
)

// JUnit as the common readers take it: one failure an element, whose text has
// all that was wrong. There is no time in it: a story takes none.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Cases    []junitCase `xml:"testcase"`
		Out      string      `xml:"system-out,omitempty"` // what no story shows
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		File    string        `xml:"file,attr,omitempty"`
		Line    int           `xml:"line,attr,omitempty"`
		Failure *junitFailure `xml:"failure"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"` // the first
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
)

// writeJUnit writes the result into file, all of it or nothing.
func writeJUnit(c *cli.Call, file string, plan *config.Plan, r *ruletest.Report) error {
	data, err := junit(c, plan.Gateway.ID, r)
	if err == nil {
		err = writeWhole(file, data)
	}
	if err != nil {
		return &cli.Error{Exit: cli.Failed, Key: "davy.test.junit", Args: i18n.Args{"file": file}, Cause: err}
	}
	return nil
}

func junit(c *cli.Call, site string, r *ruletest.Report) ([]byte, error) {
	suite := junitSuite{Name: site, Tests: len(r.Results), Failures: r.Failed(), Out: strings.Join(untested(c, r), "\n")}
	for i := range r.Results {
		s := &r.Results[i]
		one := junitCase{Name: text(s.Name).In(c.Lang), Class: site}
		if file, rest, ok := strings.Cut(s.Where, ":"); ok {
			line, _, _ := strings.Cut(rest, ":")
			one.File = file
			one.Line, _ = strconv.Atoi(line)
		}
		if !s.OK() {
			lines := make([]string, len(s.Failures))
			for k := range s.Failures {
				lines[k] = s.Failures[k].Where + ": " + failureText(c, &s.Failures[k])
			}
			one.Failure = &junitFailure{Message: lines[0], Type: s.Failures[0].Code, Text: strings.Join(lines, "\n")}
		}
		suite.Cases = append(suite.Cases, one)
	}
	data, err := xml.MarshalIndent(junitSuites{Tests: suite.Tests, Failures: suite.Failures, Suites: []junitSuite{suite}}, "", "  ")
	return append([]byte(xml.Header), append(data, '\n')...), err
}

// writeWhole replaces a file; a reader sees the old one or the new one.
func writeWhole(file string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".davy-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if chmod := f.Chmod(0o644); err == nil {
		err = chmod
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error says more
	}
	return err
}
