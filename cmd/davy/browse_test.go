package main

import (
	"testing"

	"davy/drivers/opcua"
	"davy/drivers/opcua/worker"
)

// What is proposed protects: encrypted before signed, never an old policy.
func TestStrongest(t *testing.T) {
	offer := func(policy string, mode opcua.Mode) worker.Offer { return worker.Offer{Policy: policy, Mode: mode} }
	none := offer(opcua.PolicyNone, opcua.ModeNone)
	signed := offer(opcua.PolicyAes256, opcua.ModeSign)
	encrypted := offer(opcua.PolicyBasic256Sha256, opcua.ModeSignAndEncrypt)
	for want, offers := range map[string][]worker.Offer{
		"":                            {none, offer("http://opcfoundation.org/UA/SecurityPolicy#Basic128Rsa15", opcua.ModeSignAndEncrypt)},
		opcua.PolicyAes256 + ", sign": {none, signed},
		opcua.PolicyBasic256Sha256 + ", " + opcua.ModeSignAndEncrypt.String(): {none, signed, encrypted},
	} {
		if got := strongest(&worker.Server{Offers: offers}); got != want {
			t.Errorf("of %+v %q is proposed, want %q", offers, got, want)
		}
	}
}
