// Command gateway is the public face of the shop: it shows what the private
// catalog says.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// catalogAnswer is what the catalog answers to GET /products.
type catalogAnswer struct {
	ServedBy string    `json:"served_by"`
	Products []product `json:"products"`
}

type product struct {
	Name  string  `json:"name"`
	Price float64 `json:"price"`
	Stock int     `json:"stock"`
}

type gateway struct {
	catalogURL string
	client     *http.Client
}

func main() {
	port, catalogURL := os.Getenv("PORT"), strings.TrimRight(os.Getenv("CATALOG_URL"), "/")
	if port == "" || catalogURL == "" {
		log.Fatal("set PORT and CATALOG_URL, for instance http://api.shop-catalog.internal:3000")
	}
	g := &gateway{catalogURL: catalogURL, client: &http.Client{
		Timeout: 5 * time.Second,
		// A new connection asks DNS again, and DNS spreads connections over
		// the catalog's containers.
		Transport: &http.Transport{DisableKeepAlives: true},
	}}
	mux := http.NewServeMux()
	mux.HandleFunc("/", g.page)
	mux.HandleFunc("/products", g.products)
	mux.HandleFunc("/whoami", whoami)
	server := &http.Server{Addr: "0.0.0.0:" + port, Handler: mux, ReadHeaderTimeout: 10 * time.Second}

	stopped, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-stopped.Done()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			log.Printf("shutting down: %v", err)
		}
	}()
	log.Printf("gateway listens on %s, catalog is %s", server.Addr, catalogURL)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	<-done
}

func (g *gateway) fetch(ctx context.Context) (catalogAnswer, error) {
	var answer catalogAnswer
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.catalogURL+"/products", nil)
	if err != nil {
		return answer, err
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return answer, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return answer, fmt.Errorf("the catalog answered %s", resp.Status)
	}
	return answer, json.NewDecoder(resp.Body).Decode(&answer)
}

func (g *gateway) products(w http.ResponseWriter, r *http.Request) {
	answer, err := g.fetch(r.Context())
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		log.Printf("catalog: %v", err)
		w.WriteHeader(http.StatusBadGateway)
		json.NewEncoder(w).Encode(map[string]string{"error": "the catalog does not answer"})
		return
	}
	json.NewEncoder(w).Encode(map[string]any{
		"gateway": os.Getenv("CONTAINER"), "catalog": answer.ServedBy, "products": answer.Products,
		"request_id": r.Header.Get("X-Request-ID"),
	})
}

var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Shop</title>
<style>body{font:16px/1.5 system-ui;max-width:40rem;margin:3rem auto;padding:0 1rem}td,th{padding:.2rem 1rem .2rem 0;text-align:left}footer{color:#666;margin-top:2rem}</style>
<h1>Shop</h1>
<table><tr><th>Product<th>Price<th>In stock</tr>
{{range .Products}}<tr><td>{{.Name}}<td>{{printf "%.2f" .Price}}<td>{{.Stock}}</tr>{{end}}
</table>
<footer>Page by {{.Gateway}}, products by the private {{.ServedBy}}.</footer>
`))

func (g *gateway) page(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	answer, err := g.fetch(r.Context())
	if err != nil {
		log.Printf("catalog: %v", err)
		http.Error(w, "The catalog does not answer. Is its api process type scaled to 1 or more?", http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	page.Execute(w, struct {
		catalogAnswer
		Gateway string
	}{answer, os.Getenv("CONTAINER")})
}

func whoami(w http.ResponseWriter, _ *http.Request) {
	addrs := map[string][]string{}
	interfaces, err := net.Interfaces()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	for _, i := range interfaces {
		list, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range list {
			addrs[i.Name] = append(addrs[i.Name], a.String())
		}
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"container": os.Getenv("CONTAINER"), "interfaces": addrs})
}
