// Package sparkplug holds agent/uplink/sparkplug against a codec that shares no
// line with ours (npm sparkplug-payload, of Eclipse Tahu) and a real mosquitto,
// with a host in the test that follows births, deaths, sequence numbers and
// aliases as the standard has them.
//
// setup.sh installs the codec into .cache/sparkplug; codec.js is what runs there.
package sparkplug
