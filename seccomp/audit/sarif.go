package audit

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Report is what was found in one document.
type Report struct {
	File     string // as the user named it
	Findings []Finding
}

// SARIF writes reports in the Static Analysis Results Interchange Format 2.1.0 (OASIS), which code hosts and
// editors read. version is the program's.
func SARIF(reports []Report, version string) []byte {
	type text struct {
		Text string `json:"text"`
	}
	type configuration struct {
		Level string `json:"level"`
	}
	type rule struct {
		ID      string        `json:"id"`
		Name    string        `json:"name"`
		Short   text          `json:"shortDescription"`
		Full    text          `json:"fullDescription"`
		Default configuration `json:"defaultConfiguration"`
	}
	type region struct {
		Line   int `json:"startLine"`
		Column int `json:"startColumn"`
	}
	type artifact struct {
		URI string `json:"uri"`
	}
	type physical struct {
		Artifact artifact `json:"artifactLocation"`
		Region   region   `json:"region"`
	}
	type logical struct {
		Path string `json:"fullyQualifiedName"`
	}
	type location struct {
		Physical physical  `json:"physicalLocation"`
		Logical  []logical `json:"logicalLocations,omitempty"`
	}
	type result struct {
		RuleID    string     `json:"ruleId"`
		RuleIndex int        `json:"ruleIndex"`
		Level     string     `json:"level"`
		Message   text       `json:"message"`
		Locations []location `json:"locations"`
	}
	type driver struct {
		Name    string `json:"name"`
		Version string `json:"version,omitempty"`
		Rules   []rule `json:"rules"`
	}
	type tool struct {
		Driver driver `json:"driver"`
	}
	type run struct {
		Tool    tool     `json:"tool"`
		Columns string   `json:"columnKind"`
		Results []result `json:"results"`
	}
	r := run{Tool: tool{driver{Name: "porthole", Version: version}}, Columns: "unicodeCodePoints", Results: []result{}}
	index := map[string]int{}
	for i, x := range Rules {
		index[x.ID] = i
		level := Warning
		if x.ID <= "S0002" {
			level = Error
		}
		r.Tool.Driver.Rules = append(r.Tool.Driver.Rules, rule{x.ID, x.Name, text{x.Short}, text{x.Why}, configuration{level.String()}})
	}
	for _, rep := range reports {
		for _, f := range rep.Findings {
			msg := []string{f.Msg}
			if f.Evidence != "" {
				msg = append(msg, "Seen: "+f.Evidence)
			}
			if f.Remedy != "" {
				msg = append(msg, "Instead: "+f.Remedy)
			}
			loc := location{Physical: physical{artifact{uri(rep.File)}, region{max(f.Line, 1), max(f.Column, 1)}}}
			if f.Path != "" {
				loc.Logical = []logical{{f.Path}}
			}
			r.Results = append(r.Results, result{f.Rule, index[f.Rule], f.Severity.String(), text{strings.Join(msg, ". ")}, []location{loc}})
		}
	}
	doc := struct {
		Schema  string `json:"$schema"`
		Version string `json:"version"`
		Runs    []run  `json:"runs"`
	}{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []run{r}}
	return encode(doc)
}

// encode writes texts and numbers as JSON, two blanks to each depth.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		panic("audit: " + err.Error())
	}
	return b.Bytes()
}

// uri is a file's name as a relative reference (RFC 3986): what is no letter, digit or one of -._~/ is escaped.
func uri(name string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~/", c) >= 0:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

// JSON writes reports for programs.
func JSON(reports []Report) []byte {
	type finding struct {
		Rule     string `json:"rule"`
		Name     string `json:"name"`
		Severity string `json:"severity"`
		Line     int    `json:"line"`
		Column   int    `json:"column"`
		Path     string `json:"path,omitempty"`
		Call     string `json:"call,omitempty"`
		Message  string `json:"message"`
		Evidence string `json:"evidence,omitempty"`
		Remedy   string `json:"remedy,omitempty"`
	}
	type report struct {
		File     string    `json:"file"`
		Findings []finding `json:"findings"`
	}
	out := []report{}
	for _, r := range reports {
		x := report{r.File, []finding{}}
		for _, f := range r.Findings {
			x.Findings = append(x.Findings, finding{f.Rule, RuleOf(f.Rule).Name, f.Severity.String(), f.Line, f.Column, f.Path, f.Call, f.Msg, f.Evidence, f.Remedy})
		}
		out = append(out, x)
	}
	return encode(out)
}
