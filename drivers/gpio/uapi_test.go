package gpio

import (
	"testing"
	"unsafe"
)

// Sizes and offsets as the C compiler has them for linux/gpio.h and
// linux/i2c-dev.h, the same on 32 and 64 bits but where a pointer stands.
func TestLayoutIsTheKernels(t *testing.T) {
	f := func(what string, got, want uintptr) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	f("gpiochip_info", unsafe.Sizeof(chipInfo{}), 68)
	f("gpio_v2_line_attribute", unsafe.Sizeof(lineAttribute{}), 16)
	f("gpio_v2_line_config_attribute", unsafe.Sizeof(lineConfigAttribute{}), 24)
	f("gpio_v2_line_config", unsafe.Sizeof(lineConfig{}), 272)
	f("gpio_v2_line_config.attrs", unsafe.Offsetof(lineConfig{}.attrs), 32)
	f("gpio_v2_line_request", unsafe.Sizeof(lineRequest{}), 592)
	f("gpio_v2_line_request.config", unsafe.Offsetof(lineRequest{}.config), 288)
	f("gpio_v2_line_request.num_lines", unsafe.Offsetof(lineRequest{}.numLines), 560)
	f("gpio_v2_line_request.fd", unsafe.Offsetof(lineRequest{}.fd), 588)
	f("gpio_v2_line_info", unsafe.Sizeof(lineInfo{}), 256)
	f("gpio_v2_line_info.flags", unsafe.Offsetof(lineInfo{}.flags), 72)
	f("gpio_v2_line_values", unsafe.Sizeof(lineValues{}), 16)
	f("gpio_v2_line_event", unsafe.Sizeof(lineEvent{}), 48)
	f("gpio_v2_line_event.line_seqno", unsafe.Offsetof(lineEvent{}.lineSeqno), 20)

	f("GPIO_GET_CHIPINFO_IOCTL", getChipInfo, 0x8044b401)
	f("GPIO_V2_GET_LINEINFO_IOCTL", getLineInfo, 0xc100b405)
	f("GPIO_V2_GET_LINE_IOCTL", getLine, 0xc250b407)
	f("GPIO_V2_LINE_SET_CONFIG_IOCTL", setConfig, 0xc110b40d)
	f("GPIO_V2_LINE_GET_VALUES_IOCTL", getValues, 0xc010b40e)

	word := unsafe.Sizeof(uintptr(0))
	f("i2c_msg", unsafe.Sizeof(i2cMessage{}), 8+word)
	f("i2c_msg.buf", unsafe.Offsetof(i2cMessage{}.buf), 8)
	f("i2c_rdwr_ioctl_data", unsafe.Sizeof(i2cTransfer{}), 2*word)
}
