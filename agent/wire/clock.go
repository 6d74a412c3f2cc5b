package wire

func (c *Clock) append(dst []byte) []byte {
	dst = putText(dst, 1, c.Boot)
	dst = putBool(dst, 2, c.Trusted)
	dst = putUint(dst, 3, c.Error)
	dst = putText(dst, 4, c.Source)
	return putSint(dst, 5, c.Offset)
}

func (c *Clock) decode(b []byte) error {
	return visit(b, func(key, v uint64, p []byte) (err error) {
		switch key {
		case 1<<3 | bt:
			err = text(p, &c.Boot)
		case 2<<3 | vt:
			c.Trusted = v != 0
		case 3<<3 | vt:
			c.Error = v
		case 4<<3 | bt:
			err = text(p, &c.Source)
		case 5<<3 | vt:
			c.Offset = zag(v)
		}
		return err
	})
}

func (k *Beacon) append(dst []byte) []byte {
	dst = putSint(dst, 1, k.From.Wall)
	dst = putSint(dst, 2, k.From.Mono)
	dst = putSint(dst, 3, k.To.Wall)
	dst = putSint(dst, 4, k.To.Mono)
	dst = putUint(dst, 5, uint64(k.Tags))
	dst = putUint(dst, 6, uint64(k.Good))
	dst = putUint(dst, 7, uint64(k.Worst))
	dst = putUint(dst, 8, k.Turns)
	dst = putUint(dst, 9, k.Events)
	return putSint(dst, 10, k.Longest)
}

func (k *Beacon) decode(b []byte) error {
	return visit(b, func(key, v uint64, _ []byte) error {
		switch key {
		case 1<<3 | vt:
			k.From.Wall = zag(v)
		case 2<<3 | vt:
			k.From.Mono = zag(v)
		case 3<<3 | vt:
			k.To.Wall = zag(v)
		case 4<<3 | vt:
			k.To.Mono = zag(v)
		case 5<<3 | vt:
			k.Tags = uint32(v)
		case 6<<3 | vt:
			k.Good = uint32(v)
		case 7<<3 | vt:
			k.Worst = uint32(v)
		case 8<<3 | vt:
			k.Turns = v
		case 9<<3 | vt:
			k.Events = v
		case 10<<3 | vt:
			k.Longest = zag(v)
		}
		return nil
	})
}
