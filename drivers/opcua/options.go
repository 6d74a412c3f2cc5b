package opcua

import "time"

// Options is a link's security, login and way of asking: made by ParseLink,
// never changed, and sent to the child. The zero value is refused by the child:
// nothing is insecure because it was forgotten.
type Options struct {
	Policy string // PolicyNone …: as the fragment of its URI has it
	Mode   Mode
	Trust  Trust
	Login  Login

	Poll       bool          // read instead of subscribe
	Publishing time.Duration // of a subscription
	KeepAlive  time.Duration // a subscription that has nothing to say says so this often
	Canary     Address       // a node that is read every KeepAlive to see that reading works
	// Undated says that the server's certificate is taken though its dates do
	// not fit our clock (`dates: unchecked`): a gateway without a clock of its own.
	Undated bool
	// ApplicationURI is our own name; "": "urn:davy:" and the host name.
	ApplicationURI string
}

// The security policies, as the fragment of their URI.
const (
	PolicyNone           = "None"
	PolicyBasic128Rsa15  = "Basic128Rsa15" // SHA-1: only with `legacy`
	PolicyBasic256       = "Basic256"      // SHA-1: only with `legacy`
	PolicyBasic256Sha256 = "Basic256Sha256"
	PolicyAes128         = "Aes128_Sha256_RsaOaep"
	PolicyAes256         = "Aes256_Sha256_RsaPss"
)

// Mode says what of a message is protected. The numbers are those of OPC UA
// part 4; 0 is none of them.
type Mode uint8

// The modes.
const (
	ModeNone           Mode = 1
	ModeSign           Mode = 2
	ModeSignAndEncrypt Mode = 3
)

func (m Mode) String() string {
	return [...]string{"not said", "none", "sign", "sign and encrypt"}[min(m, 3)]
}

// Trust is the certificate, or the authorities, that the server must show.
// Exactly one is set where Mode is not ModeNone.
type Trust struct {
	SHA256 string   // of the server's certificate: 64 lower case hex digits
	Pin    []byte   // the server's certificate, DER
	CA     [][]byte // authorities, DER: the server's certificate must be signed by one
}

// Login is how we log in. The zero value is anonymous.
type Login struct {
	Kind        LoginKind
	User        string // of a password; "": the secret holds "user:password"
	Secret      string // name of the secret: the password, or the key of Certificate
	Certificate []byte // DER
}

// LoginKind is one of three.
type LoginKind uint8

// The kinds of login.
const (
	Anonymous LoginKind = iota
	Password
	Certificate
)
