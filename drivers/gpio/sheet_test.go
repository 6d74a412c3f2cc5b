package gpio

import (
	"math"
	"testing"

	"periph.io/x/conn/v3/physic"

	"davy/drivers"
	"davy/drivers/tag"
)

// The numbers of the data sheet (SBAS444, table "Config register" and the table
// of full scales), written down here once more and from there.
func TestConfigIsTheDataSheets(t *testing.T) {
	for _, x := range []struct {
		at, gain, rate string
		want           uint16
	}{
		{"channel 0-1", "2.048 V", "128", 0x8583}, // what the chip has after power-up
		{"channel 0", "4.096 V", "128", 0xC383},
		{"channel 3", "6.144 V", "8", 0xF103},
		{"channel 1", "0.256 V", "860", 0xDBE3},
		{"channel 0-3", "1.024 V", "250", 0x97A3},
		{"channel 1-3", "0.512 V", "475", 0xA9C3},
		{"channel 2-3", "2.048 V", "64", 0xB563},
		{"channel 2", "4.096 V", "16", 0xE323},
	} {
		d := NewAnalogue()
		p := point(t, d, 1, x.at, drivers.Fields{"gain": x.gain, "rate": x.rate})
		if got := conversionOf(&p).config(); got != x.want {
			t.Errorf("%s %s %s: 0x%04x, want 0x%04x", x.at, x.gain, x.rate, got, x.want)
		}
	}
}

// From the chip's number to milliamperes, reckoned here with the data sheet's
// size of a step and Ohm's law, for every number at which a band begins.
func TestStepsToMilliamperes(t *testing.T) {
	steps := map[string]float64{ // volts
		"6.144 V": 187.5e-6, "4.096 V": 125e-6, "2.048 V": 62.5e-6, "1.024 V": 31.25e-6, "0.512 V": 15.625e-6, "0.256 V": 7.8125e-6,
	}
	bad := func(low bool) tag.Quality {
		if low {
			return tag.BadSensor | tag.LimitLow
		}
		return tag.BadSensor | tag.LimitHigh
	}
	tested := 0
	for gain, step := range steps {
		for _, ohms := range []float64{1, 5, 10, 47, 50, 62.5, 100, 120, 150, 220} {
			if 32767*step/ohms < 0.022 {
				continue // a failure could not be told: refused, see TestPlanConverter
			}
			o := loop{shunt: physic.ElectricResistance(ohms * float64(physic.Ohm)), gain: scale(gain)}
			var p drivers.Point
			p.Ranged, p.Low, p.High = true, -50, 150
			for _, edge := range []float64{-20, -4, 0, 3.6, 3.8, 4, 12, 20, 20.5, 21, 22} {
				for _, beside := range []int{-2, -1, 0, 1, 2} {
					raw := int(math.Round(edge*ohms/1000/step)) + beside
					if raw >= 1<<15-1 || raw <= -1<<15 {
						continue
					}
					// To the nanoampere, which is what the driver reckons in.
					mA := math.Round(float64(raw)*step/ohms*1e9) / 1e6
					var want tag.Quality
					switch {
					case mA <= 3.6:
						want = bad(true)
					case mA >= 21:
						want = bad(false)
					case mA < 3.8:
						want = tag.MakeQuality(tag.Uncertain, tag.RangeExceeded, tag.LimitLow)
					case mA > 20.5:
						want = tag.MakeQuality(tag.Uncertain, tag.RangeExceeded, tag.LimitHigh)
					default:
						want = tag.GoodQuality
					}
					volt := adsFullScale[o.gain] * physic.ElectricPotential(int16(raw)) / (1 << 15)
					q, v := engineering(&p, o, volt)
					tested++
					near := false // within the driver's own nanovolt of a limit the quality may be either's
					for _, limit := range []float64{3.6, 3.8, 20.5, 21} {
						near = near || mA != limit && math.Abs(mA-limit) < 2e-6
					}
					if q != want && !near {
						t.Errorf("%s, %v Ω, number %d: %v mA is %#x, want %#x", gain, ohms, raw, mA, uint32(q), uint32(want))
					}
					if percent := -50 + (mA-4)/16*200; !q.Bad() && math.Abs(v.Float()-percent) > 1e-4 {
						t.Errorf("%s, %v Ω, number %d: %v, want %v", gain, ohms, raw, v, percent)
					}
					if q.Bad() && v != (tag.Value{}) {
						t.Errorf("%s, %v Ω, number %d: a failure of %v", gain, ohms, raw, v)
					}
				}
			}
		}
	}
	if tested < 1000 {
		t.Errorf("%d numbers tested", tested)
	}
}
