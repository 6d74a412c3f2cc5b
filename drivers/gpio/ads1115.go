package gpio

import (
	"context"
	"errors"
	"fmt"
	"time"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"
)

// What the ADS1115 is, from its maker's data sheet (SBAS444): two registers of
// 16 bits, big-endian, and the bits of the second.
const (
	adsConversion = 0
	adsConfig     = 1

	adsStart     = 1 << 15 // written: begin; read: nothing is being converted
	adsSingle    = 1 << 8  // one conversion, then sleep
	adsNoCompare = 3       // the comparator is off
	adsMuxShift  = 12
	adsGainShift = 9
	adsRateShift = 5

	// adsMargin is how much longer than its name says a conversion may take: the
	// chip's oscillator is good to 10 %, and it needs time to wake.
	adsMargin = 1.3
	// adsGiveUp is after how many conversion times a conversion that has not ended never will.
	adsGiveUp = 4
)

// adsFullScale is the full scale of each gain, from its bits; the last two
// combinations of bits are the last gain again.
var adsFullScale = [...]physic.ElectricPotential{
	6144 * physic.MilliVolt, 4096 * physic.MilliVolt, 2048 * physic.MilliVolt,
	1024 * physic.MilliVolt, 512 * physic.MilliVolt, 256 * physic.MilliVolt,
}

// adsRates is the conversions a second of each rate, from its bits.
var adsRates = [...]int{8, 16, 32, 64, 128, 250, 475, 860}

// What a converter does that is no measurement.
var (
	errForeign = errors.New("the converter has settings that are not ours: somebody else uses it, or it lost its supply")
	errNoEnd   = errors.New("the conversion does not end")
	errClipped = errors.New("the input is outside the converter's range")
)

// conversion is the settings of one measurement.
type conversion struct {
	mux  uint8 // 0..7, as the chip counts
	gain int   // index in adsFullScale
	rate int   // index in adsRates
}

func (c conversion) config() uint16 {
	return adsStart | uint16(c.mux)<<adsMuxShift | uint16(c.gain)<<adsGainShift | adsSingle | uint16(c.rate)<<adsRateShift | adsNoCompare
}

// time is what a conversion takes, by its name.
func (c conversion) time() time.Duration { return time.Second / time.Duration(adsRates[c.rate]) }

// ads1115 is the chip on its bus.
type ads1115 struct {
	i2c.Dev
}

func (a *ads1115) register(r byte) (uint16, error) {
	var b [2]byte
	if err := a.Tx([]byte{r}, b[:]); err != nil {
		return 0, err
	}
	return uint16(b[0])<<8 | uint16(b[1]), nil
}

// measure makes one conversion. It waits until the chip says that the
// conversion has ended, and believes the number only if the settings beside it
// are still its own: else it may be another channel's. A number at either end
// of the scale is errClipped, together with that end's voltage.
func (a *ads1115) measure(ctx context.Context, c conversion) (physic.ElectricPotential, error) {
	config := c.config()
	if err := a.Tx([]byte{adsConfig, byte(config >> 8), byte(config)}, nil); err != nil {
		return 0, err
	}
	wait := time.Duration(adsMargin * float64(c.time()))
	for end := time.Now().Add(adsGiveUp * c.time()); ; {
		if err := pause(ctx, wait); err != nil {
			return 0, err
		}
		late := time.Now().After(end)
		now, err := a.register(adsConfig)
		switch {
		case err != nil:
			return 0, err
		case now&^adsStart != config&^adsStart:
			return 0, fmt.Errorf("%w: 0x%04x, written 0x%04x", errForeign, now, config)
		}
		if now&adsStart != 0 {
			break
		}
		if late {
			return 0, errNoEnd
		}
		wait = c.time() / 4
	}
	number, err := a.register(adsConversion)
	if err != nil {
		return 0, err
	}
	after, err := a.register(adsConfig)
	switch {
	case err != nil:
		return 0, err
	case after != config: // with adsStart: nothing is being converted
		return 0, fmt.Errorf("%w: 0x%04x, written 0x%04x", errForeign, after, config)
	}
	raw := int16(number)
	v := adsFullScale[c.gain] * physic.ElectricPotential(raw) / (1 << 15)
	if raw == 1<<15-1 || raw == -1<<15 {
		return v, errClipped
	}
	return v, nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
