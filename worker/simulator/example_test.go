package simulator_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/batchwright/batchwright/worker/simulator"
)

func ExampleListen() {
	ctx := context.Background()
	server, err := simulator.Listen(ctx, "127.0.0.1:0", simulator.Options{RequestsPerMinute: 60})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() {
		if err := server.Close(); err != nil {
			fmt.Println(err)
		}
	}()

	const body = `{
		"model": "claude-haiku-4-5", "max_tokens": 100,
		"output_config": {"format": {"type": "json_schema", "schema": {
			"type": "object", "properties": {"team": {"enum": ["billing", "shipping"]}}, "required": ["team"]}}},
		"messages": [{"role": "user", "content": "I was charged twice: is this a billing error?"}]
	}`
	call, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/v1/messages", strings.NewReader(body))
	if err != nil {
		fmt.Println(err)
		return
	}
	call.Header.Set("Authorization", "Bearer any")
	call.Header.Set("Anthropic-Version", "2023-06-01")
	call.Close = true
	response, err := http.DefaultClient.Do(call)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	message, err := io.ReadAll(response.Body)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(response.Status, gjson.GetBytes(message, "content.0.text"))
	fmt.Println(response.Header.Get("Anthropic-Ratelimit-Requests-Remaining"), "requests left")
	// Output:
	// 200 OK {"team":"billing"}
	// 9 requests left
}
