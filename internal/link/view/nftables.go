package view

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// nftables are tables, chains and rules, the rules in short: what they look at
// and what they do, not the values.
//
// https://docs.kernel.org/networking/netlink_spec/nftables.html
func nftables(add func(string)) error {
	tables, err := nftDump(unix.NFT_MSG_GETTABLE)
	if err != nil {
		return err
	}
	chains, err := nftDump(unix.NFT_MSG_GETCHAIN)
	if err != nil {
		return err
	}
	rules, err := nftDump(unix.NFT_MSG_GETRULE)
	if err != nil {
		return err
	}
	chainsOf, rulesOf := map[string][]attributes{}, map[string][]attributes{} // there may be very many
	for _, c := range chains {
		table := c.family + " " + c.text(unix.NFTA_CHAIN_TABLE)
		chainsOf[table] = append(chainsOf[table], c)
	}
	for _, r := range rules {
		chain := r.family + " " + r.text(unix.NFTA_RULE_TABLE) + " " + r.text(unix.NFTA_RULE_CHAIN)
		rulesOf[chain] = append(rulesOf[chain], r)
	}
	for _, t := range tables {
		table := t.family + " " + t.text(unix.NFTA_TABLE_NAME)
		add("table " + table)
		for _, c := range chainsOf[table] {
			add("  " + chainLine(c))
			for _, r := range rulesOf[table+" "+c.text(unix.NFTA_CHAIN_NAME)] {
				add("    " + ruleWords(r))
			}
		}
	}
	return nil
}

// attributes are those of a netlink message, by type.
type attributes struct {
	family string
	values map[uint16][]byte
}

var nftFamilies = map[uint8]string{
	unix.NFPROTO_INET: "inet", unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6", unix.NFPROTO_ARP: "arp", unix.NFPROTO_NETDEV: "netdev", unix.NFPROTO_BRIDGE: "bridge",
}

// nftDump asks for everything of a kind, of all families.
func nftDump(message int) (all []attributes, err error) {
	request := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|message, unix.NLM_F_DUMP)
	request.AddData(&nl.Nfgenmsg{NfgenFamily: unix.NFPROTO_UNSPEC})
	messages, err := request.Execute(unix.NETLINK_NETFILTER, 0)
	for _, m := range messages {
		if len(m) < nl.SizeofNfgenmsg {
			continue
		}
		a, failed := parse(m[nl.SizeofNfgenmsg:])
		if failed != nil {
			return all, failed
		}
		a.family = cmp.Or(nftFamilies[m[0]], fmt.Sprint(m[0]))
		all = append(all, a)
	}
	return all, err
}

func parse(data []byte) (attributes, error) {
	list, err := nl.ParseRouteAttr(data)
	a := attributes{values: map[uint16][]byte{}}
	for _, one := range list {
		a.values[one.Attr.Type&nl.NLA_TYPE_MASK] = one.Value
	}
	return a, err
}

func (a attributes) text(of uint16) string {
	return strings.TrimRight(string(a.values[of]), "\x00")
}

// number is a big-endian one; false: it is not there.
func (a attributes) number(of uint16) (int32, bool) {
	value := a.values[of]
	if len(value) < 4 {
		return 0, false
	}
	return int32(binary.BigEndian.Uint32(value)), true
}

// within are nested attributes; what cannot be read has none.
func (a attributes) within(of uint16) attributes {
	inner, err := parse(a.values[of])
	if err != nil {
		return attributes{}
	}
	return inner
}

// hooks are the numbers of those of IPv4, IPv6 and inet, see nf_inet_hooks of
// linux/netfilter.h.
var hooks = []string{"prerouting", "input", "forward", "output", "postrouting", "ingress"}

func chainLine(c attributes) string {
	line := "chain " + c.text(unix.NFTA_CHAIN_NAME)
	hook := c.within(unix.NFTA_CHAIN_HOOK)
	number, ok := hook.number(unix.NFTA_HOOK_HOOKNUM)
	if !ok {
		return line
	}
	name := fmt.Sprint(number)
	if int(number) < len(hooks) && c.family != "netdev" && c.family != "arp" && c.family != "bridge" {
		name = hooks[number]
	}
	priority, _ := hook.number(unix.NFTA_HOOK_PRIORITY)
	policy, _ := c.number(unix.NFTA_CHAIN_POLICY)
	return fmt.Sprintf("%s: type %s hook %s priority %d policy %s", line, c.text(unix.NFTA_CHAIN_TYPE), name, priority, verdicts[policy])
}

// Attributes that package unix does not have, see linux/netfilter/nf_tables.h.
const (
	nftaListElement  = 1
	nftaName         = 1 // of an expression, a match, a target
	nftaData         = 2
	nftaImmediate    = 2 // NFTA_IMMEDIATE_DATA
	nftaDataVerdict  = 2
	nftaVerdictCode  = 1
	nftaVerdictChain = 2
)

var verdicts = map[int32]string{0: "drop", 1: "accept", 3: "queue", unix.NFT_JUMP: "jump", unix.NFT_GOTO: "goto", unix.NFT_RETURN: "return", unix.NFT_CONTINUE: "continue", unix.NFT_BREAK: "break"}

// ruleWords names a rule's expressions, one after the other.
func ruleWords(r attributes) string {
	list, err := nl.ParseRouteAttr(r.values[unix.NFTA_RULE_EXPRESSIONS])
	if err != nil {
		return err.Error()
	}
	var words []string
	for _, element := range list {
		if element.Attr.Type&nl.NLA_TYPE_MASK != nftaListElement {
			continue
		}
		if e, err := parse(element.Value); err == nil {
			words = append(words, expressionWord(e))
		}
	}
	return strings.Join(words, " ")
}

func expressionWord(e attributes) string {
	data := e.within(nftaData)
	switch name := e.text(nftaName); name {
	case "match", "target": // of iptables
		return name + " " + data.text(nftaName)
	case "immediate":
		verdict := data.within(nftaImmediate).within(nftaDataVerdict)
		if code, ok := verdict.number(nftaVerdictCode); ok {
			return strings.TrimSpace(cmp.Or(verdicts[code], fmt.Sprint(code)) + " " + verdict.text(nftaVerdictChain))
		}
		return name
	default:
		return name
	}
}
