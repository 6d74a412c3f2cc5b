package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"davy/agent/cli"
	"davy/agent/export"
	"davy/agent/i18n"
	"davy/agent/journal"
	"davy/agent/wire"
)

// salvageCommand gets what can be had out of a damaged journal or one of its
// files, and writes it as evidence.
func salvageCommand(c *cli.Call) error {
	if len(c.Args) != 2 || c.Flag("out") == "" {
		return cli.Usage("davy.salvage.what", nil)
	}
	from := c.Args[1]
	s, err := journal.Salvage(from)
	if errors.Is(err, fs.ErrNotExist) {
		return &cli.Error{Exit: cli.Wrong, Key: "davy.verify.none", Args: i18n.Args{"path": from}}
	}
	if err != nil {
		return err
	}
	r := journal.OpenLogs(besideLogs(from))
	g := &gathering{r: r, claim: export.Claim{Gateway: c.Flag("gateway"), Made: madeNow(), Maker: "davy " + version, Salvage: true}, lost: s.Lost}
	if g.claim.Gateway == "" {
		g.claim.Gateway = gatewayOf(s, r)
	}
	if g.claim.Gateway == "" {
		return &cli.Error{Exit: cli.Wrong, Key: "davy.evidence.gateway"}
	}
	if len(s.Blocks) == 0 {
		sayLost(c, s.Lost)
		return &cli.Error{Exit: cli.Failed, Key: "davy.salvage.nothing", Args: i18n.Args{"path": from}}
	}
	if err := writeEvidence(c, c.Flag("out"), g, nil, func() error { return g.salvaged(s) }); err != nil {
		return err
	}
	sayLost(c, g.lost)
	if len(g.lost) > 0 {
		return cli.Quiet(cli.Failed)
	}
	return nil
}

func sayLost(c *cli.Call, lost []string) {
	for _, what := range lost {
		fmt.Fprintln(c.Err, c.Lang.Text("davy.salvage.lost", i18n.Args{"what": what}))
	}
}

// besideLogs finds the journal whose logs belong to what is salvaged: the
// directory itself, the state directory's journal, or where a file of it lies.
func besideLogs(from string) string {
	for _, dir := range []string{from, journalDir(from), filepath.Dir(from), filepath.Dir(filepath.Dir(from))} {
		if info, err := os.Stat(filepath.Join(dir, "tree")); err == nil && info.IsDir() {
			return dir
		}
	}
	return from
}

// gatewayOf finds the gateway's name in what it signed.
func gatewayOf(s *journal.Salvaged, r *journal.Reader) string {
	for i := range s.Blocks {
		id := s.Blocks[i].Epoch
		if i > 0 && s.Blocks[i-1].Epoch == id {
			continue
		}
		for _, text := range r.Notes(id) {
			if name := gatewayIn(text); name != "" {
				return name
			}
		}
		if it, err := s.Blocks[i].Read(); err == nil {
			if start := startOf(&it); start != nil {
				if name := gatewayIn(start.ParentCheckpoint); name != "" {
					return name
				}
			}
		}
	}
	return ""
}

// salvaged writes the sections of what was salvaged.
func (g *gathering) salvaged(s *journal.Salvaged) error {
	g.begin()
	g.starts = map[wire.Epoch]*wire.Start{}
	for i := range s.Blocks {
		if it, err := s.Blocks[i].Read(); err == nil && it.Block.Stream == wire.EventStream && it.Block.First == 1 {
			g.starts[it.Epoch] = startOf(&it)
		}
	}
	for len(s.Blocks) > 0 {
		id, n := s.Blocks[0].Epoch, 0
		for n < len(s.Blocks) && s.Blocks[n].Epoch == id {
			n++
		}
		if err := g.salvagedEpoch(id, s.Blocks[:n]); err != nil {
			return err
		}
		s.Blocks = s.Blocks[n:]
	}
	return nil
}

// notFound says that there were leaves whose blocks are not here. They may have
// been deleted in order.
func (g *gathering) notFound(id wire.Epoch, from, to uint64) {
	if from < to {
		g.lost = append(g.lost, fmt.Sprintf("epoch %x: no block of leaf %s", id, numbered(from, to-1)))
	}
}

func (g *gathering) salvagedEpoch(id wire.Epoch, blocks []journal.SalvagedBlock) error {
	x := g.section(id)
	defer x.close()
	ranges := map[string]export.Range{}
	size := x.synced
	for _, n := range x.notes {
		size = max(size, n.size)
	}
	for i := range blocks {
		it, err := blocks[i].Read()
		if err != nil {
			g.lost = append(g.lost, err.Error())
			continue
		}
		g.notFound(id, uint64(g.w.Leaves()), it.Block.Leaf)
		if ok, err := x.block(&it); err != nil {
			return err
		} else if !ok {
			continue
		}
		r, there := ranges[it.Block.Stream]
		if !there {
			r = export.Range{Stream: it.Block.Stream, From: it.Block.First}
		}
		r.To = max(r.To, it.Block.Last())
		ranges[it.Block.Stream] = r
	}
	g.notFound(id, uint64(g.w.Leaves()), size)
	for _, start := range g.starts {
		if start == nil || string(start.Parent) != string(id[:]) {
			continue
		}
		for _, h := range start.ParentHeads {
			if last := ranges[h.Stream].To; last < h.Number {
				g.lost = append(g.lost, fmt.Sprintf("epoch %x: %s %d to %d", id, h.Stream, last+1, h.Number))
			}
		}
	}
	if err := x.end(); err != nil {
		return err
	}
	var out []export.Range
	for _, name := range allStreams {
		if r, ok := ranges[name]; ok {
			out = append(out, r)
		}
	}
	g.w.EndEpoch(out)
	return nil
}
