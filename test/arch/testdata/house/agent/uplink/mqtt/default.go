package mqtt

import paho "github.com/eclipse/paho.mqtt.golang"

func byDefault() { _ = paho.NewClientOptions() }
