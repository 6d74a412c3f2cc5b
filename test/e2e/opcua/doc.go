// Package opcua holds the OPC UA client side against node-opcua, a server that
// shares no line with our library: every policy and mode, logins, certificates
// good and bad, restarts, a black hole, thousands of items under encryption,
// statuses and conditions.
//
// setup.sh installs the server (and the Node that can run it) into
// .cache/node-opcua; server.js is what runs there.
package opcua
