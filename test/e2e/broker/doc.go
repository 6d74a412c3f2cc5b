// Package broker holds agent/uplink/mqtt against a real mosquitto that wants
// TLS, client certificates and a password, and lets each client only write and
// read its own topics.
package broker
