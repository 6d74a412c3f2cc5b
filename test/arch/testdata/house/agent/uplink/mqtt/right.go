package mqtt

import paho "github.com/eclipse/paho.mqtt.golang"

func right() {
	o := paho.NewClientOptions().SetAutoReconnect(false)
	o.AutoReconnect = false
	_ = o
}
