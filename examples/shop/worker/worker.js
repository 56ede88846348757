// Counts the value of the shop's stock, by way of the private catalog.
const http = require('node:http')

const catalog = process.env.CATALOG_URL
if (!catalog) {
  console.error('set CATALOG_URL, for instance http://api.shop-catalog.internal:3000')
  process.exit(1)
}

function products () {
  return new Promise((resolve, reject) => {
    // A new connection each time: DNS chooses a container of the catalog.
    const req = http.get(`${catalog.replace(/\/+$/, '')}/products`, { agent: false, timeout: 5000 }, (res) => {
      let body = ''
      res.setEncoding('utf8')
      res.on('data', (chunk) => { body += chunk })
      res.on('end', () => {
        try {
          resolve(JSON.parse(body))
        } catch (err) {
          reject(err)
        }
      })
    })
    req.on('timeout', () => req.destroy(new Error('no answer within 5 s')))
    req.on('error', reject)
  })
}

async function count () {
  try {
    const answer = await products()
    const value = answer.products.reduce((sum, p) => sum + p.price * p.stock, 0)
    console.log(`stock is worth ${value.toFixed(2)}, says ${answer.served_by}`)
  } catch (err) {
    console.log(`catalog does not answer: ${err.message}`)
  }
}

const timer = setInterval(count, 2000)
count()

process.on('SIGTERM', () => {
  clearInterval(timer)
  console.log('worker stops')
})
