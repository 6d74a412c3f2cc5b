// Package i18n holds the words. Chinese is at home here.
package i18n

// Key is a key.
type Key string

// Text finds words.
func Text(key string) string { return key + "没有" }
