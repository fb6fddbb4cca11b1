package messages_test

import (
	"fmt"

	"github.com/batchwright/batchwright/worker/messages"
)

func ExampleMeasure() {
	body := []byte(`{"model":"claude-haiku-4-5","max_tokens":100,"messages":[{"role":"user","content":[
		{"type":"image","source":{"type":"base64","media_type":"image/gif",
			"data":"R0lGODlhWAIsAYAAAAAAAAAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw=="}},
		{"type":"text","text":"What is in the picture?"}]}]}`)
	size := messages.Measure(body)
	fmt.Printf("%d of %d bytes are text; the image of 600 by 300 pixels costs %d tokens\n",
		size.Text, len(body), size.Media)
	// Output: 224 of 284 bytes are text; the image of 600 by 300 pixels costs 242 tokens
}
