// Package mqtt makes its clients in every wrong way. It is never built.
package mqtt

import paho "github.com/eclipse/paho.mqtt.golang"

func wrong(on bool) {
	o := paho.NewClientOptions()
	o.SetAutoReconnect(on)
	o.SetConnectRetry(true)
	o.AutoReconnect = true
	_ = paho.ClientOptions{AutoReconnect: true}
}
