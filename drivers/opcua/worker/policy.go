package worker

import (
	"fmt"

	"github.com/gopcua/opcua/ua"
)

// policy is a security policy of OPC UA part 7.
type policy struct {
	Name      string // as the site file has it
	URI       string
	Signature int  // bytes of a symmetric signature
	Legacy    bool // SHA-1: only with `legacy: true`
	MinKey    int  // bits of an RSA key, at least
}

// policies are those that the library speaks. RSA only: it has no elliptic curves.
func policies() []policy {
	return []policy{
		{Name: "None", URI: ua.SecurityPolicyURINone},
		{Name: "Basic256Sha256", URI: ua.SecurityPolicyURIBasic256Sha256, Signature: 32, MinKey: 2048},
		{Name: "Aes128_Sha256_RsaOaep", URI: ua.SecurityPolicyURIAes128Sha256RsaOaep, Signature: 32, MinKey: 2048},
		{Name: "Aes256_Sha256_RsaPss", URI: ua.SecurityPolicyURIAes256Sha256RsaPss, Signature: 32, MinKey: 2048},
		{Name: "Basic256", URI: ua.SecurityPolicyURIBasic256, Signature: 20, Legacy: true, MinKey: 1024},
		{Name: "Basic128Rsa15", URI: ua.SecurityPolicyURIBasic128Rsa15, Signature: 20, Legacy: true, MinKey: 1024},
	}
}

// policyOf finds a policy by its name or URI.
func policyOf(s string) (policy, bool) {
	for _, p := range policies() {
		if p.Name == s || p.URI == s {
			return p, true
		}
	}
	return policy{}, false
}

// refusal is what a server said with an error message before it closed the
// connection.
type refusal struct {
	Code uint32
	Text string
}

func (r *refusal) Error() string {
	if r.Text == "" {
		return "the server closed the connection: " + statusName(r.Code)
	}
	return fmt.Sprintf("the server closed the connection: %s (%s)", statusName(r.Code), clip([]byte(r.Text)))
}

// statusName is a status code with its name, "0x80340000 BadNodeIdUnknown".
func statusName(code uint32) string {
	if d, ok := ua.StatusCodes[ua.StatusCode(code&0xffff0000)]; ok && len(d.Name) > len("Status") {
		return fmt.Sprintf("%#08x %s", code, d.Name[len("Status"):])
	}
	return fmt.Sprintf("%#08x", code)
}
