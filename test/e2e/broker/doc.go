// Package broker holds agent/uplink/mqtt against a real mosquitto that wants
// TLS 1.3, client certificates or a password, and lets each client write and
// read its own topics only.
//
// Each test owns its broker and its certificates below a temporary directory;
// nothing outlives it. What a denied publish looks like is part of what is
// tested: like a good one, but that nothing arrives.
package broker
