package output

import _ "C"
