#!/usr/bin/env node
console.log("built by a script");
