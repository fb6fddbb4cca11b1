package parquetio

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/batchwright/batchwright/io/jsonl"
	"github.com/batchwright/batchwright/jobs"
)

// oldList is a LIST whose repeated node stands for the element itself, as files before 2014 have it.
type oldList struct {
	parquet.Node
	fields []parquet.Field
}

func (l *oldList) Fields() []parquet.Field { return l.fields }

func twoLevelList(repeated string, element parquet.Node) parquet.Node {
	return &oldList{
		Node:   parquet.List(parquet.Int(32)),
		fields: []parquet.Field{&orderedField{Node: parquet.Repeated(element), name: repeated}},
	}
}

func ordered(fields ...parquet.Field) parquet.Node { return &orderedGroup{fields: fields} }

func field(name string, node parquet.Node) parquet.Field {
	return &orderedField{Node: node, name: name}
}

// leafRow gives the levels of some rows of one leaf column.
type leafRow struct {
	value    any
	rep, def int
}

// writeLevels writes a file of one column value by value.
func writeLevels(t *testing.T, root parquet.Node, columns ...[]leafRow) string {
	t.Helper()
	var out bytes.Buffer
	// The writer for Go values insists on lists of three levels.
	w := parquet.NewWriter(&out, parquet.NewSchema("schema", root))
	for i, rows := range columns {
		var values []parquet.Value
		for _, row := range rows {
			values = append(values, parquet.ValueOf(row.value).Level(row.rep, row.def, i))
		}
		if _, err := w.ColumnWriters()[i].WriteRowValues(values); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "legacy.parquet")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestReaderFollowsOldListRules holds the rules for lists that are not of three levels ("Backward-compatibility
// rules" on the format's LogicalTypes page).
func TestReaderFollowsOldListRules(t *testing.T) {
	t.Parallel()
	number := parquet.Leaf(parquet.Int64Type)
	integer := jobs.Type{Kind: jobs.KindInteger}
	pair := func(names ...string) jobs.Type {
		typ := jobs.Type{Kind: jobs.KindStruct}
		for _, name := range names {
			typ.Fields = append(typ.Fields, jobs.Column{Name: name, Type: integer})
		}
		return typ
	}
	tests := []struct {
		name    string
		node    parquet.Node
		columns [][]leafRow
		typ     jobs.Type
		want    []string
	}{
		{
			"repeated leaf without annotation", parquet.Repeated(number),
			[][]leafRow{{{int64(1), 0, 1}, {int64(2), 1, 1}, {nil, 0, 0}}},
			listOf(integer),
			[]string{`[1,2]`, `[]`},
		},
		{
			"repeated leaf in a LIST", parquet.Optional(twoLevelList("element", number)),
			[][]leafRow{{{int64(1), 0, 2}, {int64(2), 1, 2}, {nil, 0, 1}, {nil, 0, 0}}},
			listOf(integer),
			[]string{`[1,2]`, `[]`, `null`},
		},
		{
			"repeated group of two members", parquet.Optional(twoLevelList("element", ordered(field("a", number), field("b", number)))),
			[][]leafRow{{{int64(1), 0, 2}, {int64(2), 1, 2}}, {{int64(3), 0, 2}, {int64(4), 1, 2}}},
			listOf(pair("a", "b")),
			[]string{`[{"a":1,"b":3},{"a":2,"b":4}]`},
		},
		{
			"repeated group called array", parquet.Optional(twoLevelList("array", ordered(field("str", number)))),
			[][]leafRow{{{int64(1), 0, 2}}},
			listOf(pair("str")),
			[]string{`[{"str":1}]`},
		},
		{
			"repeated group called after the list", parquet.Optional(twoLevelList("c_tuple", ordered(field("str", number)))),
			[][]leafRow{{{int64(1), 0, 2}}},
			listOf(pair("str")),
			[]string{`[{"str":1}]`},
		},
		{
			"repeated group of another name is a wrapping", parquet.Optional(twoLevelList("bag", ordered(field("array_element", parquet.Optional(number))))),
			[][]leafRow{{{int64(1), 0, 3}, {nil, 1, 2}, {nil, 0, 1}}},
			listOf(integer),
			[]string{`[1,null]`, `[]`},
		},
		{
			"repeated group around a repeated leaf", parquet.Optional(twoLevelList("element", ordered(field("xs", parquet.Repeated(number))))),
			[][]leafRow{{{int64(1), 0, 3}, {int64(2), 2, 3}, {nil, 1, 2}}},
			listOf(jobs.Type{Kind: jobs.KindStruct, Fields: []jobs.Column{{Name: "xs", Type: listOf(integer)}}}),
			[]string{`[{"xs":[1,2]},{"xs":[]}]`},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := writeLevels(t, ordered(field("c", test.node)), test.columns...)
			schema, rows := readRows(t, path)
			if diff := cmp.Diff(jobs.Schema{{Name: "c", Type: test.typ}}, schema); diff != "" {
				t.Errorf("schema (-want +got):\n%s", diff)
			}
			var got []string
			for _, row := range rows {
				got = append(got, string(row[0].Value))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReaderRefusesColumnsThatDisagree(t *testing.T) {
	t.Parallel()
	number := parquet.Leaf(parquet.Int64Type)
	list := parquet.Optional(twoLevelList("element", ordered(field("a", number), field("b", number))))
	tests := []struct {
		name    string
		columns [][]leafRow
	}{
		{"second column shorter", [][]leafRow{{{int64(1), 0, 2}, {int64(2), 1, 2}}, {{int64(3), 0, 2}}}},
		{"second column longer", [][]leafRow{{{int64(1), 0, 2}}, {{int64(3), 0, 2}, {int64(4), 1, 2}}}},
		{"second column with a row more", [][]leafRow{{{int64(1), 0, 2}}, {{int64(3), 0, 2}, {int64(4), 0, 2}}}},
		{"second column with a row less", [][]leafRow{{{int64(1), 0, 2}, {int64(2), 0, 2}}, {{int64(3), 0, 2}}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := writeLevels(t, ordered(field("c", list)), test.columns...)
			if rows, err := readThrough(path, 0); err == nil {
				t.Errorf("%d records and no error", rows)
			}
		})
	}
}

// TestReaderReadsLongPageHeaders holds that statistics in a page's header may be as long as its values.
func TestReaderReadsLongPageHeaders(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("long text ", 200_000)
	path := writeLevels(t, ordered(field("c", parquet.String())), []leafRow{{text, 0, 0}, {"b", 0, 0}})
	_, rows := readRows(t, path)
	if len(rows) != 2 || len(rows[0][0].Value) != len(text)+2 || string(rows[1][0].Value) != `"b"` {
		t.Errorf("%d rows, or not those written", len(rows))
	}
}

// TestReaderMarksRecordsWithoutText holds that a value that has no JSON text spoils its own record and no other.
func TestReaderMarksRecordsWithoutText(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		node      parquet.Node
		bad, good any
		want      string
		problem   string
	}{
		{"text that is not UTF-8", parquet.String(), "a\xff", "b", `"b"`, "not UTF-8"},
		{"json that is none", parquet.JSON(), "{", "{}", `{}`, "no JSON"},
		{"json with a name twice", parquet.JSON(), `{"a":1,"a":2}`, "{}", `{}`, "a name twice"},
		{"json with half a character", parquet.JSON(), `"\ud800"`, "{}", `{}`, "no JSON"},
		{"time beyond the day", parquet.Time(parquet.Millisecond), int32(86_400_000), int32(0), `"00:00:00.000"`, "outside of the day"},
		{"time before the day", parquet.Time(parquet.Nanosecond), int64(-1), int64(1), `"00:00:00.000000001"`, "outside of the day"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := writeLevels(t, ordered(field("c", test.node)), []leafRow{{test.bad, 0, 0}, {test.good, 0, 0}})
			r, err := Open(path, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			first, err := r.Next()
			if err != nil || first.Fields != nil || !strings.Contains(first.Problem, test.problem) || !strings.Contains(first.Problem, `"c"`) {
				t.Errorf("first record: %+v, error %v, want a problem with %q that names the column", first, err, test.problem)
			}
			second, err := r.Next()
			if got := string(jsonl.AppendObject(nil, second.Fields)); err != nil || got != `{"c":`+test.want+`}` {
				t.Errorf("second record: %s, problem %q, error %v", got, second.Problem, err)
			}
		})
	}
}

// TestReaderMarksKeysTwice holds that a map with one key twice, which no JSON object can be, spoils its own record.
func TestReaderMarksKeysTwice(t *testing.T) {
	t.Parallel()
	node := parquet.Map(parquet.String(), parquet.Leaf(parquet.Int32Type))
	path := writeLevels(t, ordered(field("c", node)),
		[]leafRow{{"a", 0, 1}, {"a", 1, 1}, {"a", 0, 1}, {"b", 1, 1}}, []leafRow{{int32(1), 0, 1}, {int32(2), 1, 1}, {int32(1), 0, 1}, {int32(2), 1, 1}})
	r, err := Open(path, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if first, err := r.Next(); err != nil || first.Fields != nil || !strings.Contains(first.Problem, "a key twice") || !strings.Contains(first.Problem, `"c"`) {
		t.Errorf("first record: %+v, error %v, want a problem that names the column", first, err)
	}
	if second, err := r.Next(); err != nil || second.Problem != "" || string(second.Fields[0].Value) != `{"a":1,"b":2}` {
		t.Errorf("second record: %+v, error %v", second, err)
	}
}

// TestReaderRefusesMembersTwice holds that a struct that no JSON object can be is refused as a whole.
func TestReaderRefusesMembersTwice(t *testing.T) {
	t.Parallel()
	member := field("a", parquet.Leaf(parquet.Int32Type))
	path := writeLevels(t, ordered(field("c", ordered(member, member))), []leafRow{{int32(1), 0, 0}}, []leafRow{{int32(2), 0, 0}})
	if _, err := Open(path, 0, 0); err == nil || !strings.Contains(err.Error(), `two members of its column "c" are called "a"`) {
		t.Errorf("error %v, want one that names the member", err)
	}
}
