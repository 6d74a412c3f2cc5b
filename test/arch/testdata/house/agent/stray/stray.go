// Package stray is in no table. It is reported once.
package stray

import _ "davy/agent/journal"
