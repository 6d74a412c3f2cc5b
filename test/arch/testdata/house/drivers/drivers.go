// Package drivers looks upwards. That breaks the direction of the arrows.
package drivers

import (
	_ "davy/drivers/tag"
	_ "davy/rules"
)
